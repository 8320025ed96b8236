"""What a process sees of hollow CUDA: its devices, and what a few calls count."""

import pytest
import torch

from pipeline import machine
from tests.gpu.hollow.calls import Calls


def _check_copies_and_waits() -> None:
    x_HW = torch.ones(4, 4).pin_memory().to("cuda", non_blocking=True)
    before = Calls.read()
    x_HW @ x_HW
    assert Calls.read().since(before).launches == 1
    assert Calls.read().since(before).waits == 0
    assert x_HW.sum().item() == 0.0  # nothing is added up, and all memory begins as zeros
    assert Calls.read().since(before).synchronisations == 1
    assert torch.equal(x_HW.cpu(), torch.ones(4, 4))


def _check_graphs() -> None:
    x_HW = torch.ones(4, 4, device="cuda")
    x_HW @ x_HW
    graph = torch.cuda.CUDAGraph()
    before = Calls.read()
    with torch.cuda.graph(graph):
        x_HW @ x_HW
    calls = Calls.read().since(before)
    assert (calls.captures, calls.captured_launches, calls.refused) == (1, 1, 0)
    graph.replay()
    assert Calls.read().since(before).graph_launches == 1
    with (
        pytest.raises(RuntimeError, match="when stream is capturing"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        torch.cuda.synchronize()
    assert Calls.read().since(before).refused > 0


def _check_a_backward_pass() -> None:
    network = torch.nn.Conv2d(3, 8, 3).cuda()
    network(torch.zeros(2, 3, 8, 8, device="cuda")).sum().backward()
    assert network.weight.grad is not None


if __name__ == "__main__":
    _check_copies_and_waits()
    _check_graphs()
    _check_a_backward_pass()
    print(torch.cuda.device_count(), [gpu.name for gpu in machine.gpus()])

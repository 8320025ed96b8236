"""Teachers that are programs on hollow CUDA: what their files keep on the CPU moves with them."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from models.programs.kinds import ProgramKind
from models.programs.program import Program, content_of
from stages.distill.batch_norm import BNStatsLoss
from tests.gpu.hollow.calls import Calls
from tests.models.programs import networks, test_compiled

X_BCHW = torch.rand(2, 1, 8, 8)


class MakesTensors(networks.Net):
    """Makes tensors in its forward pass, as masks and places of tokens are made."""

    def forward(self, x: Tensor) -> Any:
        mean_1, places_W = torch.tensor([0.5]), torch.arange(8.0)
        x = (x - mean_1) + 0.01 * places_W
        mask_HW = torch.ones(8, 8).tril() > 0.5
        x = torch.where(mask_HW, x, torch.zeros(1))
        x = x / torch.sqrt(torch.ones(1) * x.shape[2])
        h = torch.relu(self.norm1(self.conv1(x)))
        h = torch.relu(self.norm2(self.conv2(h)))
        return self.fc(h.mean((2, 3)).view(x.size(0), -1))


class Pooled(test_compiled.Tokens):
    """Takes the first of four pixels: Resize computes its places on the CPU, to round alike."""

    @staticmethod
    def halved(h: Tensor, _size: tuple[int, int]) -> Tensor:
        return h[:, :, ::2, ::2]


FILES: dict[str, tuple[ProgramKind, Callable[[nn.Module], bytes]]] = {
    "onnx": ("onnx", lambda network: networks.onnx(network, X_BCHW, folded=True, opset=17)),
    "pt2": ("pt2", lambda network: networks.pt2(network, X_BCHW)),
    "pt2, decomposed": ("pt2", lambda network: networks.pt2(network, X_BCHW, decomposed=True)),
    "torchscript": ("torchscript", lambda network: networks.torchscript(network, X_BCHW)),
}


@pytest.mark.parametrize("makes", [networks.Net, MakesTensors])
@pytest.mark.parametrize("file", FILES)
def test_a_program_computes_where_the_images_are_and_waits_for_nothing(
    file: str, makes: type[nn.Module]
) -> None:
    kind, export = FILES[file]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = export(networks.trained(makes()))
    program = Program(kind, content_of(content)).eval().to("cuda")
    x_BCHW = X_BCHW.to("cuda")
    for has_gradient in (True, False):
        with torch.set_grad_enabled(has_gradient):
            x_BCHW.requires_grad_(has_gradient)
            assert program(x_BCHW).device.type == "cuda"
            before = Calls.read()
            assert program(x_BCHW).requires_grad == has_gradient
            assert Calls.read().since(before).synchronisations == 0


@pytest.mark.parametrize("name", ["onnx", "onnx of torch.export"])
def test_a_compiled_graph_has_nothing_on_the_cpu(name: str) -> None:
    devices: list[set[str]] = []

    def backend(graph: fx.GraphModule, _inputs: list[Tensor]) -> Callable[..., Any]:
        values = [node.meta.get("example_value") for node in graph.graph.nodes]
        devices.append({value.device.type for value in values if isinstance(value, Tensor)})
        return graph.forward

    kind, make, _ = test_compiled.FORMS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = make(networks.trained(Pooled()))
    run = BNStatsLoss(Program(kind, content_of(content)).eval().to("cuda"))
    torch.compiler.reset()
    run.compile(backend=backend, fullgraph=True, dynamic=False)
    x_BCHW = X_BCHW.to("cuda").requires_grad_()
    run(x_BCHW)
    before = Calls.read()
    logits_BK, distances = run(x_BCHW)
    (logits_BK.sum() + sum(distances)).backward()
    assert Calls.read().since(before).synchronisations == 0
    assert devices == [{"cuda"}]

"""Convolutions whose weight gradient oneDNN gets wrong: they neither crash nor go wrong here."""

import copy
import itertools
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stages.training.cpu_convolutions import lies_on_padding
from stages.training.device import Compute

ROOT = Path(__file__).parents[3]
CPU = Compute(torch.device("cpu"), "fp32")
TRAIN = """
import sys
import torch
from torch import nn
from stages.training.device import Compute

torch.manual_seed(0)
precision, compiled, *channels = sys.argv[1:]
compute = Compute(torch.device("cpu"), precision)
for in_channels in map(int, channels):
    stem = nn.Conv2d(1, in_channels, 3, padding=1)
    layer = nn.Conv2d(in_channels, 8, 1, stride=2, bias=False)
    network = compute.placed(nn.Sequential(stem, layer))
    compute.compile(compiled, network)
    x_BCHW = torch.randn(9, 1, 16, 16).contiguous(memory_format=torch.channels_last)
    slope_BCHW = torch.randn(9, 8, 8, 8)
    for _ in range(8):
        layer.zero_grad()
        with compute.autocast():
            y_BCHW = network(x_BCHW)
        y_BCHW.float().backward(slope_BCHW)
    with torch.no_grad(), compute.autocast():
        h_BCHW = stem(x_BCHW)[:, :, ::2, ::2]
    wanted_OI = torch.einsum("bohw,bihw->oi", slope_BCHW, h_BCHW.float())
    difference_OI = (layer.weight.grad[:, :, 0, 0] - wanted_OI).abs()
    assert difference_OI.max() < 0.03 * wanted_OI.abs().max(), (in_channels, difference_OI)
"""


@pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"}, reason="oneDNN has these kernels for x86 alone"
)
@pytest.mark.parametrize(
    ("isa", "threads", "arguments"),
    [
        ("AVX2", 1, "fp32 off 2 4 7"),
        ("AVX2", 4, "fp32 off 2 4 7"),
        ("DEFAULT", 2, "fp32 off 2 4 8 15"),
        ("DEFAULT", 2, "bf16 off 2 4 8 15"),
        pytest.param("AVX2", 1, "fp32 on 4", marks=pytest.mark.slow),
        pytest.param("DEFAULT", 2, "fp32 on 8", marks=pytest.mark.slow),
    ],
)
def test_their_training_neither_crashes_nor_goes_wrong(
    isa: str, threads: int, arguments: str
) -> None:
    """In a process of its own, since oneDNN's fault ends it."""
    limits = {
        "ONEDNN_MAX_CPU_ISA": isa,
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    command = [sys.executable, "-c", TRAIN, *arguments.split()]
    process = subprocess.run(
        command, cwd=ROOT, env=os.environ | limits, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize(
    ("layer", "is_default"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), True),
        (nn.Conv2d(15, 8, 1, stride=(1, 2)), True),
        (nn.Conv2d(16, 32, 1, stride=2), False),
        (nn.Conv2d(4, 8, 1), False),
        (nn.Conv2d(4, 8, 3, stride=2), False),
        (nn.Conv2d(4, 8, 1, stride=2, groups=2), False),
    ],
)
def test_they_alone_compute_in_the_default_layout(layer: nn.Conv2d, *, is_default: bool) -> None:
    placed = CPU.placed(copy.deepcopy(layer))
    are_default: list[bool] = []
    placed.register_forward_pre_hook(
        lambda _layer, inputs: are_default.append(inputs[0].is_contiguous())
    )
    x_BCHW = torch.rand(3, layer.in_channels, 8, 8).contiguous(memory_format=torch.channels_last)
    y_BCHW = placed(x_BCHW)
    assert are_default == [is_default]
    if is_default:
        # Torch goes by the strides, which the two layouts give a 1x1 weight differently.
        assert placed.weight.stride() == (layer.in_channels, 1, 1, 1)
    assert y_BCHW.is_contiguous(memory_format=torch.channels_last)


def test_placing_keeps_the_parameters_and_what_a_network_computes() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(4, 8, 1, stride=2), nn.ReLU(), nn.Conv2d(8, 2, 3))
    parameters = list(plain.parameters())
    x_BCHW = torch.rand(2, 4, 8, 8)
    wanted_BCHW = plain(x_BCHW)
    placed = CPU.placed(CPU.placed(plain))
    assert all(one is other for one, other in zip(parameters, placed.parameters(), strict=True))
    torch.testing.assert_close(placed(x_BCHW), wanted_BCHW)


def gradient(layer: nn.Module, x_BCHW: Tensor, precision: str) -> Tensor:
    compute = Compute(torch.device("cpu"), precision)
    network = compute.placed(copy.deepcopy(layer))
    # What is freed comes back as the memory of the gradient, with all its values.
    torch.full((4_000_000,), 1e30)
    with compute.autocast():
        y_BCHW = network(x_BCHW.contiguous(memory_format=torch.channels_last))
    y_BCHW.float().square().sum().backward()
    (parameter,) = network.parameters()
    assert parameter.grad is not None
    return parameter.grad


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 3), (2, 2), (4, 4)])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(16, 16, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(64, 64, 5, stride=2, padding=2, bias=False),
        nn.Conv2d(256, 64, 5, padding="same", bias=False),
        nn.Conv2d(256, 64, 3, padding=2, dilation=2, bias=False),
        nn.ConvTranspose2d(64, 64, 3, stride=2, padding=1, bias=False),
    ],
    ids=str,
)
def test_what_lies_on_padding_has_no_gradient_in_bf16(
    layer: nn.Conv2d, size: tuple[int, int]
) -> None:
    x_BCHW = torch.rand(8, layer.in_channels, *size, generator=torch.Generator().manual_seed(0))
    wanted = gradient(layer, x_BCHW, "fp32")
    for _ in range(3):
        got = gradient(layer, x_BCHW, "bf16")
        assert (got - wanted).abs().max() < 0.03 * wanted.abs().max()


@pytest.mark.parametrize(
    ("layer", "size", "wanted"),
    [
        (nn.Conv2d(1, 1, 3, padding=1), (1, 1), True),
        (nn.Conv2d(1, 1, 3, padding=1), (1, 9), True),
        (nn.Conv2d(1, 1, 3, padding=1), (2, 2), False),
        (nn.Conv2d(1, 1, 3, stride=2, padding=1), (2, 2), True),
        (nn.Conv2d(1, 1, 3, stride=2, padding=1), (3, 3), False),
        (nn.Conv2d(1, 1, 7, padding="same"), (3, 3), True),
        (nn.Conv2d(1, 1, 7, padding="same"), (4, 4), False),
        (nn.Conv2d(1, 1, 3, padding="valid"), (3, 3), False),
        (nn.Conv2d(1, 1, 3, padding=4, dilation=4), (4, 4), True),
        (nn.Conv2d(1, 1, 3, padding=4, dilation=4), (5, 5), False),
        (nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1), (1, 1), True),
        (nn.ConvTranspose2d(1, 1, 3, stride=2), (1, 1), False),
        (nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1), (2, 2), False),
    ],
)
def test_where_a_part_of_a_kernel_meets_padding_alone(
    layer: nn.Conv2d, size: tuple[int, int], *, wanted: bool
) -> None:
    """By counting: ones in the image are counted by the gradient of the kernel."""
    x_BCHW = torch.ones(1, 1, *size)
    layer(x_BCHW).sum().backward()
    assert layer.weight.grad is not None
    assert bool((layer.weight.grad == 0).any()) == wanted
    assert lies_on_padding(layer, x_BCHW) == wanted


def test_copies_of_a_placed_network_are_their_own() -> None:
    network = Compute(torch.device("cpu"), "bf16").placed(nn.Conv2d(16, 4, 3, padding=1))
    copied = copy.deepcopy(network)
    nn.init.zeros_(copied.weight)
    with torch.no_grad():
        torch.testing.assert_close(copied(torch.rand(1, 16, 1, 1)).flatten(), copied.bias)
    assert copied.state_dict().keys() == nn.Conv2d(16, 4, 3).state_dict().keys()


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_images_that_are_not_looked_at_have_no_part_of_a_kernel_on_padding_alone(
    kind: type[nn.Conv2d],
) -> None:
    bf16 = Compute(torch.device("cpu"), "bf16")
    for size, stride, dilation in itertools.product((2, 3, 5, 7), (1, 2, 3), (1, 2)):
        for padding in range(dilation * (size - 1) + 1):
            options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
            layer: Any = bf16.placed(kind(1, 1, size, **options))
            x_BCHW = torch.zeros(1, 1, layer.most_px + 1, layer.most_px + 1)
            assert not lies_on_padding(layer, x_BCHW), options

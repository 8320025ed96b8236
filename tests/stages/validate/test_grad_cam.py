"""Grad-CAM: maps worked out by hand, networks of every kind, and those that have no map.

Shape legend: B batch, C channel, H W space, K classes.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.programs.kinds import ProgramKind
from models.programs.program import Program, content_of
from stages.validate import grad_cam
from stages.validate.grad_cam import looks
from tests.models.programs import networks
from tests.models.programs.networks import Net

pytestmark = pytest.mark.usefixtures("one_thread")
X_BCHW = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def net() -> nn.Module:
    """Return a small network with the same weights every time."""
    torch.manual_seed(5)
    return networks.trained(Net())


class OneChannel(nn.Module):
    """Class 0 counts the brightness of the image, class 1 its darkness, each as one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 1), nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            assert self.conv.bias is not None
            self.conv.bias.copy_(torch.tensor([0.0, 0.5]))
            self.head.weight.copy_(torch.eye(2))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.head(self.conv(x_BCHW).relu().mean((2, 3)))
        return logits_BK


def test_a_network_that_counts_brightness_looks_at_the_bright_corner() -> None:
    x_BCHW = torch.zeros(2, 1, 4, 4)
    x_BCHW[0, 0, :2, :2] = torch.tensor([[64.0, 0.0], [32.0, 0.0]])
    x_BCHW[1, 0, :, 1:] = 1.0
    result = looks(OneChannel().eval(), x_BCHW, batch_size=2)
    assert result.absent is None
    bright, dark = (map_HW.astype(int) for map_HW in result.maps)
    assert bright[0, 0] == 255
    assert bright[1, 0] == 128
    assert bright.sum() == 255 + 128
    # The second image is bright in three columns, so it is class 0 there and not in the first.
    assert dark[:, 0].sum() == 0
    assert (dark[:, 1:] == 255).all()


def test_maps_are_those_of_equations_1_and_2() -> None:
    network = net()
    activations: list[Tensor] = []
    handle = network.norm2.register_forward_hook(  # type: ignore[union-attr]
        lambda *hook: activations.append(hook[2].relu())
    )
    logits_BK = network(X_BCHW)
    handle.remove()
    # Of a mean and a linear layer the gradient is the row of the answer over the places.
    row_BC = network.fc.weight[logits_BK.argmax(1)]  # type: ignore[union-attr,index]
    map_BHW = (row_BC[:, :, None, None] * activations[0]).sum(1).relu()
    expected_BHW = map_BHW / map_BHW.amax((1, 2), keepdim=True) * 255
    result = looks(network, X_BCHW, batch_size=8)
    np.testing.assert_allclose(np.stack(result.maps), expected_BHW.detach(), atol=0.51)
    assert np.stack(result.maps).any()


def test_it_makes_no_difference_how_many_images_go_at_a_time() -> None:
    network = net()
    together, alone = (looks(network, X_BCHW, batch_size=size).maps for size in (8, 1))
    for first, second in zip(together, alone, strict=True):
        np.testing.assert_allclose(first.astype(int), second.astype(int), atol=1)


def test_the_network_stays_as_it_is() -> None:
    network = net().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert looks(network, X_BCHW, batch_size=2).absent is None
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


FORMS: Mapping[str, tuple[ProgramKind, Callable[[nn.Module], bytes]]] = {
    "scripted": ("torchscript", networks.torchscript),
    "exported": ("pt2", lambda net: networks.pt2(net, X_BCHW)),
    "decomposed": ("pt2", lambda net: networks.pt2(net, X_BCHW, decomposed=True)),
    "onnx": ("onnx", lambda net: networks.onnx(net, X_BCHW)),
    "folded": ("onnx", lambda net: networks.onnx(net, X_BCHW, folded=True)),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_program_looks_where_the_network_looks_that_it_was_made_of(name: str) -> None:
    kind, make = FORMS[name]
    network = net()
    program = Program(kind, content_of(make(network))).eval()
    own, others = (looks(module, X_BCHW, batch_size=4) for module in (network, program))
    assert (own.absent, others.absent) == (None, None)
    for first, second in zip(own.maps, others.maps, strict=True):
        np.testing.assert_allclose(first.astype(int), second.astype(int), atol=1)


class InPlace(nn.Module):
    """Modules that write over their input, an addition, and pooling, as in residual networks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 5)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h = self.relu(self.stem(x_BCHW))
        out = self.block(h)
        out += h
        logits_BK: Tensor = self.head(functional.adaptive_avg_pool2d(self.relu(out), 1).flatten(1))
        return logits_BK


class Functions(nn.Module):
    """A network without modules, whose last map has one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.randn(4, 1, 3, 3), torch.randn(5, 4, 8, 8)])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h = functional.conv2d(x_BCHW, self.weights[0], padding=1).tanh()
        return functional.conv2d(h, self.weights[1]).flatten(1)


class ChannelsLast(nn.Module):
    """Works on BHWC, and goes back to BCHW for pooling alone."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix, self.head = nn.Conv2d(1, 6, 2, 2), nn.Linear(6, 6), nn.Linear(6, 5)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = self.patches(x_BCHW).permute(0, 2, 3, 1)
        for _ in range(8):
            x = x + self.mix(x)
        logits_BK: Tensor = self.head(
            functional.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), 1).flatten(1)
        )
        return logits_BK


@pytest.mark.parametrize(
    ("make", "sides"), [(InPlace, (8, 8)), (Functions, (8, 8)), (ChannelsLast, (4, 4))]
)
def test_the_last_map_is_found_however_a_network_is_written(
    make: Callable[[], nn.Module], sides: tuple[int, int]
) -> None:
    torch.manual_seed(3)
    result = looks(make().eval(), X_BCHW, batch_size=4)
    assert result.absent is None
    assert {map_HW.shape for map_HW in result.maps} == {sides}


def test_a_large_map_is_made_smaller() -> None:
    x_BCHW = torch.rand(1, 1, 64, 20)
    (map_HW,) = looks(OneChannel().eval(), x_BCHW, batch_size=1).maps
    assert map_HW.shape == (grad_cam.LARGEST_MAP, 20)


class Transformer(nn.Module):
    """Patches, then tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 2, 2)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 5)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.head(
            self.layers(self.patches(x_BCHW).flatten(2).transpose(1, 2)).mean(1)
        )
        return logits_BK


class WithoutGradient(OneChannel):
    """Computes as users do who only ever predict."""

    @torch.no_grad()
    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(x_BCHW)


class Overflowing(OneChannel):
    """Has a gradient without end."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(x_BCHW) * torch.tensor([float("inf"), 1.0])


class Raising(OneChannel):
    """Cannot be run with gradients."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(torch.from_numpy(x_BCHW.numpy()))


MLP = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 5))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Transformer(), "works on tokens, which are no map, in most of its depth"),
        (MLP, "has no feature map of more than one row and column"),
        (WithoutGradient(), "computes without gradients"),
        (Overflowing(), "has gradients that are not finite"),
        (Raising(), "has no gradients here (RuntimeError: Can't call numpy()"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_network_without_a_map_says_why(network: nn.Module, reason: str) -> None:
    result = looks(network.eval(), X_BCHW, batch_size=4)
    assert result.absent is not None
    assert result.absent.startswith(reason)
    assert not result.maps

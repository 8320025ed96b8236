"""The CIFAR-style residual networks."""

import pytest
import torch
from torch import nn

from models.resnet import BasicBlock, CifarResNet


def _network(depth: int = 8, width: int = 4, channels: int = 3) -> CifarResNet:
    torch.manual_seed(0)
    return CifarResNet(depth=depth, width=width, in_channels=channels, num_classes=5)


@pytest.mark.parametrize("depth", [8, 14, 20, 32, 56])
def test_the_depth_is_the_number_of_layers_with_weights_on_the_main_path(depth: int) -> None:
    layers = [
        name
        for name, module in _network(depth).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in name
    ]
    assert len(layers) == depth


@pytest.mark.parametrize("depth", [2, 7, 9, 0, -4])
def test_other_depths_are_refused_with_the_value(depth: int) -> None:
    with pytest.raises(ValueError, match=rf"6n \+ 2 with n >= 1, got {depth}"):
        _network(depth)


@pytest.mark.parametrize("size", [8, 28, 32, 64])
def test_images_of_any_small_size_give_a_logit_for_each_class(size: int) -> None:
    assert _network()(torch.rand(2, 3, size, size)).shape == (2, 5)


def test_the_last_two_stages_halve_the_image_and_double_the_channels() -> None:
    network = _network()
    h_BCHW = network.stage1(torch.rand(1, 4, 8, 8))
    assert h_BCHW.shape == (1, 4, 8, 8)
    h_BCHW = network.stage2(h_BCHW)
    assert h_BCHW.shape == (1, 8, 4, 4)
    assert network.stage3(h_BCHW).shape == (1, 16, 2, 2)


def test_the_shortcut_is_the_identity_where_the_shape_stays() -> None:
    block = BasicBlock(4, 4, 1).eval()
    nn.init.zeros_(block.conv2.weight)
    x_BCHW = torch.rand(2, 4, 6, 6)
    assert torch.equal(block(x_BCHW), x_BCHW)


def test_resnet20_has_the_parameters_of_the_paper_and_its_projections() -> None:
    network = CifarResNet(depth=20, width=16, in_channels=3, num_classes=10)
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert sum(each.numel() for each in network.parameters()) == 269_722 + projections


def test_the_same_seed_gives_the_same_network() -> None:
    one, other = _network().state_dict(), _network().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)

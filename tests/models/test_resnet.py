"""The residual networks: three stages as for CIFAR, ResNet-18, 34 and 50, and wide ones."""

import pytest
import torch
from torch import nn

from models.resnet import (
    BasicBlock,
    Bottleneck,
    CifarResNet,
    PaddedBlock,
    PreActivationBlock,
    SmallResNet,
    WideResNet,
)


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
    assert sum(weight.numel() for weight in network.parameters()) == 269_722 + projections


def test_the_same_seed_gives_the_same_network() -> None:
    one, other = _network().state_dict(), _network().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_stem_of_small_resnet_keeps_the_size_and_the_last_three_stages_halve_it() -> None:
    network = SmallResNet(depth=18, in_channels=3, num_classes=10).eval()
    h_BCHW = torch.relu(network.bn1(network.conv1(torch.rand(1, 3, 32, 32))))
    sizes = [h_BCHW.shape[-1]]
    for number in range(1, 5):
        h_BCHW = network.get_submodule(f"layer{number}")(h_BCHW)
        sizes.append(h_BCHW.shape[-1])
    assert sizes == [32, 32, 16, 8, 4]
    assert h_BCHW.shape[1] == 512


def test_the_names_are_those_of_the_usual_checkpoints() -> None:
    names = SmallResNet(depth=18, in_channels=3, num_classes=10).state_dict().keys()
    assert {"conv1.weight", "bn1.running_var", "layer4.1.bn2.bias", "linear.weight"} <= names
    assert {"layer2.0.shortcut.0.weight", "layer2.0.shortcut.1.running_mean"} <= names


def test_a_bottleneck_that_adds_nothing_is_its_shortcut() -> None:
    block = Bottleneck(16, 4, 1).eval()
    torch.nn.init.zeros_(block.conv3.weight)
    x_BCHW = torch.rand(2, 16, 6, 6)
    assert torch.equal(block(x_BCHW), x_BCHW)


def test_other_depths_of_small_resnet_are_refused_with_the_value() -> None:
    with pytest.raises(ValueError, match=r"one of \[18, 34, 50\], got 20"):
        SmallResNet(depth=20, in_channels=3, num_classes=10)


@pytest.mark.parametrize("depth", [2, 4, 11, 18])
def test_other_depths_of_wide_networks_are_refused_with_the_value(depth: int) -> None:
    with pytest.raises(ValueError, match=rf"6n \+ 4 with n >= 1, got {depth}"):
        WideResNet(depth=depth, widen=1, in_channels=3, num_classes=10)


def test_the_depth_counts_convolutions_of_the_main_path_linear_layer_and_projections() -> None:
    network = WideResNet(depth=16, widen=2, in_channels=3, num_classes=10)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    projections = [name for name, _ in network.named_modules() if name.endswith("convShortcut")]
    assert len(layers) - len(projections) == 14  # the stem, 12 in blocks, the linear layer
    assert len(projections) == 3


def test_with_no_widening_the_first_stage_has_no_projection() -> None:
    network = WideResNet(depth=16, widen=1, in_channels=3, num_classes=10)
    names = [n for n in network.state_dict() if "convShortcut" in n]
    assert names == ["block2.layer.0.convShortcut.weight", "block3.layer.0.convShortcut.weight"]


def test_a_block_whose_shape_stays_adds_to_its_raw_input() -> None:
    block = PreActivationBlock(4, 4, 1).eval()
    nn.init.zeros_(block.conv2.weight)
    x_BCHW = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(x_BCHW), x_BCHW)


def test_a_block_whose_shape_changes_projects_its_activated_input() -> None:
    block = PreActivationBlock(4, 8, 2).eval()
    nn.init.zeros_(block.conv2.weight)
    x_BCHW = torch.randn(2, 4, 6, 6)
    assert block.convShortcut is not None
    wanted_BCHW = block.convShortcut(torch.relu(block.bn1(x_BCHW)))
    torch.testing.assert_close(block(x_BCHW), wanted_BCHW)


def test_a_padded_shortcut_keeps_every_second_pixel_between_zeros() -> None:
    block = PaddedBlock(2, 4, 2)
    x_BCHW = torch.rand(1, 2, 4, 4)
    around_BCHW = block.shortcut(x_BCHW)
    assert torch.equal(around_BCHW[:, 1:3], x_BCHW[:, :, ::2, ::2])
    assert not around_BCHW[:, [0, 3]].any()
    assert not [name for name in block.state_dict() if "shortcut" in name]

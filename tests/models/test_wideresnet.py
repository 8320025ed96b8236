"""The wide residual networks."""

import pytest
import torch
from torch import nn

from models.wideresnet import PreActivationBlock, WideResNet


@pytest.mark.parametrize("depth", [2, 4, 11, 18])
def test_other_depths_are_refused_with_the_value(depth: int) -> None:
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

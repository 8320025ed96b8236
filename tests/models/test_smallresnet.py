"""ResNet-18, 34 and 50 for small images."""

import pytest
import torch

from models.smallresnet import Bottleneck, SmallResNet


def test_the_stem_keeps_the_size_and_the_last_three_stages_halve_it() -> None:
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


def test_other_depths_are_refused_with_the_value() -> None:
    with pytest.raises(ValueError, match=r"one of \[18, 34, 50\], got 20"):
        SmallResNet(depth=20, in_channels=3, num_classes=10)

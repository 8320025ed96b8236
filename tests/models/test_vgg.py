"""VGG-11 for small images."""

import pytest
import torch
from torch import nn

from models.vgg import Vgg11


def test_it_has_eight_convolutions_each_with_a_norm() -> None:
    network = Vgg11(in_channels=3, num_classes=10)
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(nn.Conv2d) == kinds.count(nn.BatchNorm2d) == 8


@pytest.mark.parametrize(("size", "left"), [(8, 1), (28, 1), (32, 1), (64, 2)])
def test_five_poolings_leave_a_map_at_every_small_size(size: int, left: int) -> None:
    network = Vgg11(in_channels=1, num_classes=10).eval()
    assert network.features(torch.rand(1, 1, size, size)).shape == (1, 512, left, left)

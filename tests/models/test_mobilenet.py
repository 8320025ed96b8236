"""MobileNetV2 for small images."""

import pytest
import torch

from models.mobilenet import InvertedResidual, SmallMobileNetV2


@pytest.mark.parametrize(("size", "left"), [(28, 4), (32, 4), (64, 8)])
def test_the_image_is_reduced_eight_times(size: int, left: int) -> None:
    network = SmallMobileNetV2(in_channels=3, num_classes=10).eval()
    h_BCHW = network.blocks(network.stem(torch.rand(1, 3, size, size)))
    assert h_BCHW.shape == (1, 320, left, left)


def test_only_a_block_that_keeps_the_shape_has_a_shortcut() -> None:
    assert InvertedResidual(8, 8, 6, 1).has_shortcut
    assert not InvertedResidual(8, 8, 6, 2).has_shortcut
    assert not InvertedResidual(8, 16, 6, 1).has_shortcut


def test_with_stride_two_and_1000_classes_it_would_be_the_published_one() -> None:
    network = SmallMobileNetV2(in_channels=3, num_classes=1000)
    assert sum(weight.numel() for weight in network.parameters()) == 3_504_872

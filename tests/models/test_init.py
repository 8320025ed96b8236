"""The start of a network's weights."""

import pytest
import torch
from torch import nn

from models.init import initialise


def test_convolutions_have_the_spread_of_their_fan_out_and_no_bias() -> None:
    torch.manual_seed(0)
    layer, linear = nn.Conv2d(64, 128, 3), nn.Linear(4, 4)
    before = linear.weight.detach().clone()
    initialise(nn.Sequential(layer, linear))
    assert layer.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert layer.bias is not None
    assert not layer.bias.any()
    assert torch.equal(linear.weight, before)

"""A classifier with its preprocessing inside, and the start of its weights."""

import pytest
import torch
from torch import nn

from models.classifier import Classifier, initialise


def test_images_are_normalised_channel_by_channel_before_the_backbone() -> None:
    network = Classifier(nn.Identity(), (0.5, 0.25), (0.5, 2.0))
    x_BCHW = torch.tensor([[[[1.0]], [[0.75]]]])
    assert network(x_BCHW).flatten().tolist() == [1.0, 0.25]


def test_the_normalisation_is_no_part_of_the_weights() -> None:
    network = Classifier(nn.Linear(2, 3), (0.5,), (0.5,))
    assert set(network.state_dict()) == {"backbone.weight", "backbone.bias"}


def test_the_normalisation_moves_with_the_network() -> None:
    network = Classifier(nn.Identity(), (0.5,), (0.5,)).to(torch.float64)
    assert network.mean_1C11.dtype == network.std_1C11.dtype == torch.float64


def test_convolutions_have_the_spread_of_their_fan_out_and_no_bias() -> None:
    torch.manual_seed(0)
    layer, linear = nn.Conv2d(64, 128, 3), nn.Linear(4, 4)
    before = linear.weight.detach().clone()
    initialise(nn.Sequential(layer, linear))
    assert layer.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert layer.bias is not None
    assert not layer.bias.any()
    assert torch.equal(linear.weight, before)

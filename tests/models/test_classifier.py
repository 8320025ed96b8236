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


def test_a_single_probability_keeps_both_classes_in_lower_precision() -> None:
    linear = nn.Linear(1, 1, bias=False)
    nn.init.ones_(linear.weight)
    head = nn.Sequential(nn.Flatten(), linear, nn.Sigmoid()).requires_grad_(requires_grad=False)
    network = Classifier(head, (0.0,), (1.0,), "one-probability")
    z_B = torch.tensor([-12.0, -6.0, 0.0, 6.0, 9.0, 12.0])
    with torch.autocast("cpu", torch.bfloat16):
        logits_B2 = network(z_B.view(-1, 1, 1, 1))
    torch.testing.assert_close(logits_B2[:, 1] - logits_B2[:, 0], z_B, rtol=0.01, atol=0.01)
    # Where fp32 rounds it to 1 the other class is just below what fp32 can tell.
    assert 16 < float(network(torch.full((1, 1, 1, 1), 40.0)).diff()) < 18

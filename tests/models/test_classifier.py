"""A classifier with its preprocessing inside."""

import torch
from torch import nn

from models.classifier import Classifier


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

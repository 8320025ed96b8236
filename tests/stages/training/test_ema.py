"""Moving averages: their formula, and which statistics follow it."""

import pytest
import torch
from torch import Tensor, nn

from stages.training.ema import ema_copy, ema_update


class Masked(nn.Module):
    """Weights, statistics, a counter, and a constant that is no part of the state."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]), persistent=False)


def _moved(network: nn.Module) -> dict[str, Tensor]:
    """Add 1 to all weights, statistics and counters; return the state of before."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        for value in network.state_dict().values():
            value.add_(1)
    return before


def test_it_begins_as_a_copy_that_no_gradient_reaches() -> None:
    network = Masked().train()
    average = ema_copy(network)
    assert average.training
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("alpha", [0.0, 0.75])
@pytest.mark.parametrize("average_statistics", [False, True])
def test_weights_move_by_the_formula_and_statistics_where_asked(
    alpha: float, *, average_statistics: bool
) -> None:
    network = Masked()
    average = ema_copy(network)
    before = _moved(network)
    ema_update(average, network, alpha, average_statistics=average_statistics)
    after = average.state_dict()
    for name in ("norm.weight", "norm.bias"):
        torch.testing.assert_close(after[name], before[name] + (1 - alpha))
    for name in ("norm.running_mean", "norm.running_var"):
        share = 1 - alpha if average_statistics else 1.0
        torch.testing.assert_close(after[name], before[name] + share)
    assert after["norm.num_batches_tracked"].item() == 1


@pytest.mark.parametrize("average_statistics", [False, True])
def test_constants_with_infinities_stay_as_they_are(*, average_statistics: bool) -> None:
    network = Masked()
    average = ema_copy(network)
    ema_update(average, network, 0.5, average_statistics=average_statistics)
    assert average.get_buffer("mask").tolist() == [0.0, -torch.inf]


def test_weights_that_two_layers_share_move_once() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].weight = network[0].weight
    average = ema_copy(network)
    before = _moved(network[0])
    ema_update(average, network, 0.5, average_statistics=True)
    torch.testing.assert_close(average.get_parameter("1.weight"), before["weight"] + 0.5)

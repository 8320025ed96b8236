"""A group of one costs nothing; of several, see test_launch."""

import copy

import torch

from stages.distill.batch_norm import batch_moments
from stages.distill.distributed.group import Group


def test_alone_a_mean_is_the_value_itself() -> None:
    x = torch.randn(3, requires_grad=True)
    assert Group().mean(x) is x
    assert not Group().is_distributed


def test_alone_gradients_stay_as_they_are() -> None:
    x = torch.randn(3, requires_grad=True)
    (2 * x).sum().backward()  # type: ignore[no-untyped-call]
    Group().average_gradients([x])
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2, 2]


def test_local_only_work_knows_no_other_process_for_a_while() -> None:
    group = Group(0, 2)
    states = [group.is_distributed]
    with group.local_only():
        states.append(group.is_distributed)
        with group.local_only():
            pass
        states.append(group.is_distributed)
    states.append(group.is_distributed)
    assert states == [True, False, False, True]


def test_a_copied_network_still_belongs_to_its_group() -> None:
    group = Group(1, 2)
    assert copy.deepcopy({"group": group})["group"] is group


def test_the_variance_of_a_far_mean_is_never_below_zero() -> None:
    class Half(Group):
        def mean(self, values: torch.Tensor) -> torch.Tensor:
            return values

    x_BCHW = 30 + 0.001 * torch.randn(16, 3200, 2, 2, generator=torch.Generator().manual_seed(0))
    _, var_C = batch_moments(x_BCHW, Half(0, 2))
    assert var_C.min() >= 0

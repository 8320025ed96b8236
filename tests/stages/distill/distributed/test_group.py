"""A group of one costs nothing; of several, see test_crew."""

import copy

import torch

from stages.distill.distributed.group import Group


def test_alone_a_mean_is_the_value_itself() -> None:
    x = torch.randn(3, requires_grad=True)
    assert Group().mean(x) is x
    assert not Group().together


def test_alone_gradients_stay_as_they_are() -> None:
    x = torch.randn(3, requires_grad=True)
    (2 * x).sum().backward()  # type: ignore[no-untyped-call]
    Group().average_gradients([x])
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2, 2]


def test_apart_from_the_others_it_is_alone_for_a_while() -> None:
    group = Group(0, 2)
    seen = [group.together]
    with group.apart():
        seen.append(group.together)
        with group.apart():
            pass
        seen.append(group.together)
    seen.append(group.together)
    assert seen == [True, False, False, True]


def test_a_copied_network_still_belongs_to_its_group() -> None:
    group = Group(1, 2)
    assert copy.deepcopy({"group": group})["group"] is group

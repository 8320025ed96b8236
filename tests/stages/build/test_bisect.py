"""The layers that cost the accuracy, found by halving."""

import pytest

from stages.build.bisect import costly_layers

LAYERS = [f"layer{n}" for n in range(16)]


@pytest.mark.parametrize("guilty", [("layer0",), ("layer13",), ("layer3", "layer12")])
def test_the_guilty_are_found_in_few_trials(guilty: tuple[str, ...]) -> None:
    trials = 0

    def disagreement(in_float: frozenset[str]) -> float:
        nonlocal trials
        trials += 1
        return 0.1 * len(set(guilty) - in_float) + 0.001

    found = costly_layers(LAYERS, disagreement, limit=0.01, most=4)
    assert {each.layer for each in found} == set(guilty)
    assert found[-1].disagreement == pytest.approx(0.001)
    assert trials <= 9 * len(guilty)


def test_it_ends_at_the_most_that_is_allowed_even_where_nothing_helps() -> None:
    found = costly_layers(LAYERS, lambda in_float: 0.5, limit=0.01, most=3)  # noqa: ARG005
    assert len({each.layer for each in found}) == 3


def test_the_worse_of_two_comes_first() -> None:
    cost = {"layer2": 0.3, "layer9": 0.1}

    def disagreement(in_float: frozenset[str]) -> float:
        return sum(each for name, each in cost.items() if name not in in_float)

    found = costly_layers(LAYERS, disagreement, limit=0.0, most=2)
    assert [each.layer for each in found] == ["layer2", "layer9"]

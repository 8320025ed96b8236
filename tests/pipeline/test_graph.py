"""The order of the stages follows from what they read."""

import pytest

from pipeline.errors import UsageError
from pipeline.graph import ordered, require_stage, selected
from pipeline.stage import Stage


def stage(name: str, *reads: str) -> Stage:
    inputs = tuple(f"{each}/out" for each in reads)
    return Stage(name=name, run="x:y", inputs=inputs, outputs={"out": "out"})


def names(stages: tuple[Stage, ...]) -> list[str]:
    return [each.name for each in stages]


A, B, C, D = stage("a"), stage("b", "a"), stage("c", "a"), stage("d", "c", "b")


def test_each_stage_comes_after_those_it_reads() -> None:
    assert names(ordered([D, C, B, A])) == ["a", "c", "b", "d"]


def test_order_is_kept_where_nothing_asks_for_another() -> None:
    assert names(ordered([A, B, C, D])) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([A, A], "two stages have one name"),
        ([B], r"stage b reads what no stage leaves: \['a/out'\]"),
        ([stage("x", "y"), stage("y", "x")], r"stages depend on each other: \['x', 'y'\]"),
        ([stage("x", "x")], "stages depend on each other"),
    ],
)
def test_declaration_that_cannot_be_ordered_is_an_error(stages: list[Stage], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ordered(stages)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["a"], ["a"]),
        (["c"], ["a", "c"]),
        (["c", "b"], ["a", "b", "c"]),
        (["d"], ["a", "b", "c", "d"]),
        (["all"], ["a", "b", "c", "d"]),
        (["b", "all"], ["a", "b", "c", "d"]),
        ([], []),
    ],
)
def test_targets_bring_all_that_they_read(targets: list[str], expected: list[str]) -> None:
    assert names(selected((A, B, C, D), targets)) == expected


def test_all_is_a_target_but_no_stage() -> None:
    require_stage((D,), "all", allow_all=True)
    with pytest.raises(UsageError, match=r"no such stage \(all\); name one of d$"):
        require_stage((D,), "all")

"""The combinations of a sweep are those of its axes, and their options are quoted for a shell."""

import pytest

from pipeline.sweep.combinations import combined, options_of, split_values


@pytest.mark.parametrize(
    ("listed", "values"),
    [
        ("1,2", ["1", "2"]),
        ('["a","b"],["c"]', ['["a","b"]', '["c"]']),
        ("'x,y',z", ["'x,y'", "z"]),
        ("{a=1,b=2}", ["{a=1,b=2}"]),
    ],
)
def test_commas_within_a_value_do_not_split_it(listed: str, values: list[str]) -> None:
    assert split_values(listed) == values


def test_the_last_axis_is_the_fastest() -> None:
    assert combined(["a=1,2", "b=x,y"], ["c=0"]) == [
        ("a=1", "b=x"), ("a=1", "b=y"), ("a=2", "b=x"), ("a=2", "b=y")
    ]  # fmt: skip


def test_options_are_quoted_for_a_shell() -> None:
    assert options_of(["student.arch=resnet8", "student.weights='a b'"]) == (
        "--set student.arch=resnet8 --set 'student.weights='\"'\"'a b'\"'\"''"
    )

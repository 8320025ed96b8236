"""What a field accepts is told in words."""

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, inspect

from pipeline.config.fields import accepted, bounds, description

CASES = [
    (int, "an integer", ""),
    (Annotated[int, Meta(ge=1)], "an integer >= 1", ">= 1"),
    (
        Annotated[int, Meta(ge=2, multiple_of=2)],
        "an integer >= 2 and a multiple of 2",
        ">= 2 and a multiple of 2",
    ),
    (Annotated[float, Meta(gt=0.0, lt=1.0)], "a number > 0 and < 1", "> 0 and < 1"),
    (Annotated[float, Meta(ge=0.5, le=1.0)] | None, "a number >= 0.5 and <= 1", ">= 0.5 and <= 1"),
    (Literal["b", "a"], "one of 'a', 'b'", "'a', 'b'"),
    (bool, "true or false", ""),
    (str, "a text", ""),
    (Annotated[str, Meta(min_length=1)], "a text that is not empty", ""),
    (tuple[str, ...], "a list, each a text", ""),
    (
        Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=1)],
        "a list of at least one, each an integer >= 1",
        "",
    ),
    (dict[str, int], "a table", ""),
]


@pytest.mark.parametrize(("kind", "words", "limits"), CASES)
def test_kind_and_bounds_are_told(kind: Any, words: str, limits: str) -> None:
    info = inspect.type_info(kind)
    assert accepted(info) == words
    assert bounds(info) == limits


def test_description_is_found_through_optional_types() -> None:
    info = inspect.type_info(Annotated[int, Meta(description="how many")] | None)
    assert description(info) == "how many"
    assert description(inspect.type_info(int)) == ""

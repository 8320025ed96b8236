"""The nearest known name is offered, and none where none is near."""

import pytest

from pipeline.did_you_mean import nearest


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("distil", ", did you mean 'distill'?"),
        ("alhpa", ", did you mean 'alpha'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_guess(name: str, guess: str) -> None:
    assert nearest(name, ["distill", "alpha", "build"]) == guess


def test_no_known_names_give_no_guess() -> None:
    assert nearest("x", []) == ""

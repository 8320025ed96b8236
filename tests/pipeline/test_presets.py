"""Presets are settings that would be accepted from a file."""

import pytest

from pipeline.presets import PRESETS
from pipeline.rules import broken_rules
from pipeline.settings import Settings


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_preset_breaks_no_rule(name: str) -> None:
    assert list(broken_rules(PRESETS[name])) == []


def test_digits_are_the_defaults() -> None:
    assert PRESETS["digits"] == Settings()

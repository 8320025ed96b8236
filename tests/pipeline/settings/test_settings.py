"""Settings carry their bounds, cannot be changed, and have names for all that is measured."""

import typing

import msgspec
import pytest

from pipeline.config.rules import broken_rules
from pipeline.gates.measures import MEASURES
from pipeline.settings import DEFAULT_GATES, Settings, Table


def test_defaults_break_no_rule() -> None:
    assert list(broken_rules(Settings())) == []


def test_default_gates_are_measures_that_exist() -> None:
    assert DEFAULT_GATES.keys() <= MEASURES.keys()


def test_settings_cannot_be_changed() -> None:
    name = "seed"
    with pytest.raises(AttributeError, match="immutable"):
        setattr(Settings(), name, 1)


def test_default_gates_of_one_project_are_not_those_of_another() -> None:
    Settings().gates.clear()
    assert Settings().gates == DEFAULT_GATES


def test_every_table_refuses_keys_that_it_does_not_know() -> None:
    for kind in typing.get_type_hints(Settings).values():
        if isinstance(kind, type) and issubclass(kind, Table):
            with pytest.raises(msgspec.ValidationError, match="unknown field"):
                msgspec.convert({"no_such_key": 1}, kind)

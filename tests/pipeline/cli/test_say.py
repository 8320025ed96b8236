"""Results are written in aligned columns or as JSON."""

import json
from pathlib import Path

import pytest

from pipeline.cli import say


def test_columns_are_aligned_and_end_without_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    say.columns([("a", "bbb", "c"), ("aaa", "b", "")])
    assert capsys.readouterr().out == "a    bbb  c\naaa  b\n"
    say.columns([])
    assert capsys.readouterr().out == ""


def test_record_has_names_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    say.record({"name": 1, "n": Path("x")})
    assert capsys.readouterr().out == "name  1\nn     x\n"


def test_json_takes_paths_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    say.as_json({"path": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"path": "x"}

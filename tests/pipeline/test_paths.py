"""Paths in settings, as users write them."""

from pathlib import Path

import pytest

from pipeline.paths import expanded


def test_home_variables_and_backslashes_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SETS", "/mnt/sets")
    root = tmp_path / "project"
    assert expanded("~/sets/a", root) == Path("/home/me/sets/a")
    assert expanded("$SETS/a", root) == expanded("${SETS}/a", root) == Path("/mnt/sets/a")
    assert expanded("sets\\a", root) == expanded("sets/a", root) == root / "sets" / "a"
    root.mkdir()
    (root / "sets\\a").touch()
    assert expanded("sets\\a", root) == root / "sets\\a"


def test_a_home_that_nobody_has_is_a_name(tmp_path: Path) -> None:
    assert expanded("~nobody_of_that_name/a", tmp_path) == tmp_path / "~nobody_of_that_name/a"

"""The package command refuses what cannot be packed before it writes anything."""

from collections.abc import Callable
from pathlib import Path

Call = Callable[..., tuple[int, str, str]]


def test_without_a_run_there_is_nothing_to_pack(madpipe: Call, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").touch()
    code, out, err = madpipe("package")
    assert (code, out) == (1, "")
    home = tmp_path / ".madpipe"
    assert err == f"{home}: holds no run to report (none stored); madpipe run all first\n"


def test_without_settings_and_engine_the_settings_are_missing(madpipe: Call) -> None:
    code, _, err = madpipe("package")
    assert code == 2
    assert err.startswith("pipeline.toml: no such file; ")


def test_a_folder_without_an_engine_is_refused(madpipe: Call, tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    code, _, err = madpipe("package", "--engine", "engine", "--out", "p.zip")
    assert (code, err) == (
        1,
        "--engine: has no manifest.json (engine); name a folder that madpipe build wrote\n",
    )
    assert not (tmp_path / "p.zip").exists()

"""The command as it is called: its exit codes, and one clear message for every error."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from pipeline import __version__
from pipeline.cli.main import main
from pipeline.config.presets import PRESETS

Call = Callable[..., tuple[int, str, str]]

MAIN = "import sys; from pipeline.cli.main import main; main(sys.argv[1:])"
ROOT = Path(__file__).parents[3]


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start the command as a process of its own in a folder."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", MAIN, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_version_is_printed(tmp_path: Path) -> None:
    with start(tmp_path, "--version") as process:
        assert process.communicate(timeout=60) == (f"madpipe {__version__}\n", "")
        assert process.returncode == 0


def test_processes_that_are_started_import_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    with pytest.raises(SystemExit):
        main(["--version"])
    planted = "raise ImportError('planted')\n"
    (tmp_path / "multiprocessing.py").write_text(planted, encoding="utf-8")
    (tmp_path / "random.py").write_text(planted, encoding="utf-8")
    process = "import multiprocessing as m, random\nm.get_context('spawn').Process().run()\n"
    for command in (["-c", process], ["-m", "multiprocessing.spawn"]):
        ended = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert "planted" not in ended.stderr


def test_help_names_the_commands_and_the_exit_codes(madpipe: Call) -> None:
    code, out, _ = madpipe("--help")
    assert code == 0
    for word in ("run", "plan", "why", "gate", "report", "doctor", "cache", "init", "130"):
        assert word in out


@pytest.mark.parametrize("arguments", [(), ("cache",)])
def test_command_alone_shows_its_help_and_no_empty_error(
    madpipe: Call, arguments: tuple[str, ...]
) -> None:
    code, out, err = madpipe(*arguments)
    assert code == 2
    assert "Usage: madpipe" in out + err
    assert "command line: ;" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope",), "command line: No such command 'nope'; see madpipe --help"),
        (("run",), "command line: Missing argument 'all | STAGE...'; see madpipe --help"),
        (
            ("run", "all", "--frce"),
            "command line: No such option: --frce (Possible options: --force); see madpipe --help",
        ),
        (
            ("run", "destill"),
            (
                "command line: no such stage, did you mean 'distill'? (destill); "
                "name one of teacher, distill, export, build, validate, all"
            ),
        ),
        (
            ("why", "zzz"),
            (
                "command line: no such stage (zzz); "
                "name one of teacher, distill, export, build, validate"
            ),
        ),
        (
            ("init", "--preset", "digit", "--config", "other.toml"),
            (
                "--preset: no such preset, did you mean 'digits'? (digit); "
                f"name one of {', '.join(PRESETS)}"
            ),
        ),
        (
            ("init",),
            "pipeline.toml: is already there; give --overwrite or another --config",
        ),
        (
            ("plan", "--config", "gone.toml"),
            "gone.toml: no such file; write one with 'madpipe init' or name it with --config",
        ),
        (
            ("plan", "--set", "distill.alhpa=1"),
            "--set distill.alhpa: unknown key, did you mean 'alpha'? (alhpa); correct or remove it",
        ),
    ],
)
def test_wrong_use_is_one_line_with_exit_code_2(
    madpipe: Call, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "pipeline.toml").touch()
    assert madpipe(*arguments) == (2, "", message + "\n")


def test_architecture_that_does_not_exist_is_a_fault_of_its_setting(
    madpipe: Call, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.toml").write_text("\n[student]\narch = 'resnet99'\n", encoding="utf-8")
    code, _, err = madpipe("plan", "--set", "teacher.arch=zzz")
    assert code == 2
    in_the_file, of_the_override = err.splitlines()
    assert in_the_file.startswith("pipeline.toml:3: student.arch: no such architecture, did you ")
    assert "(resnet99); name one of resnet" in in_the_file
    assert of_the_override.startswith("--set teacher.arch: no such architecture (zzz); name one of")


def test_every_fault_of_the_settings_is_a_line_of_its_own(madpipe: Call, tmp_path: Path) -> None:
    text = "[distill]\nrounds = 0\n[gates]\nspeedup = 1\n"
    (tmp_path / "pipeline.toml").write_text(text, encoding="utf-8")
    code, _, err = madpipe("plan")
    assert code == 2
    assert err.splitlines() == [
        "pipeline.toml:2: distill.rounds: not an integer >= 1 (0); give an integer >= 1",
        "pipeline.toml:4: gates.speedup: not a table (1); give a table",
    ]


def test_traceback_is_shown_only_when_asked_for(madpipe: Call) -> None:
    assert "Traceback" not in madpipe("plan")[2]
    code, _, err = madpipe("plan", "--traceback")
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("pipeline.toml: no such file; ")
    assert code == 2


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            typer.Abort(),
            130,
            "interrupted; the same command goes on from the last checkpoint",
        ),
        (
            KeyboardInterrupt(),
            130,
            "interrupted; the same command goes on from the last checkpoint",
        ),
        (RuntimeError("bug"), 1, "unexpected RuntimeError (bug); repeat with --traceback"),
        (OSError("full"), 1, "cannot be read or written (full); check the path and the disk"),
    ],
)
def test_errors_that_are_not_madpipes_own_are_one_message(
    madpipe: Call, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("pipeline.cli.common.open_project", fail)
    assert madpipe("plan") == (code, "", f"madpipe: {message}\n")


def test_newer_working_folder_is_exit_code_1(madpipe: Call, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").touch()
    (tmp_path / ".madpipe").mkdir()
    (tmp_path / ".madpipe" / "layout.json").write_text('{"layout": 2}', encoding="utf-8")
    for command in (("plan",), ("run", "all"), ("cache", "ls"), ("report",)):
        code, _, err = madpipe(*command)
        assert code == 1
        assert "was written by a newer madpipe (layout 2, this one knows 1)" in err


def test_file_in_place_of_the_working_folder_is_exit_code_1(
    madpipe: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipeline.toml").touch()
    (tmp_path / "file").touch()
    monkeypatch.setenv("MADPIPE_HOME", str(tmp_path / "file"))
    code, _, err = madpipe("run", "all")
    assert code == 1
    assert err == (f"{tmp_path}/file: is a file, not a folder; name a folder with MADPIPE_HOME\n")


def test_a_terminal_that_lacks_a_letter_shows_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "日本"
    folder.mkdir()
    (folder / "pipeline.toml").touch()
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    with start(folder, "status") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "\\u65e5\\u672c" in out

"""The command as it is called: its exit codes, and one clear message for every error."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import __version__
from pipeline.config.presets import PRESETS

Result = subprocess.CompletedProcess[str]
Madpipe = Callable[..., Result]

MAIN = "import sys; from pipeline.cli.main import main; main(sys.argv[1:])"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def in_a_process(tmp_path: Path) -> Madpipe:
    """Run the command in the folder of the test."""

    def call(*arguments: str, **variables: str) -> Result:
        environment = {k: v for k, v in os.environ.items() if k != "MADPIPE_HOME"}
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", MAIN, *arguments],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(ROOT)} | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return call


def test_version_is_printed(in_a_process: Madpipe) -> None:
    answer = in_a_process("--version")
    assert (answer.returncode, answer.stdout) == (0, f"madpipe {__version__}\n")


def test_help_names_the_verbs_and_the_exit_codes(in_a_process: Madpipe) -> None:
    answer = in_a_process("--help")
    assert answer.returncode == 0
    for word in ("run", "plan", "why", "gate", "report", "doctor", "cache", "init", "130"):
        assert word in answer.stdout


@pytest.mark.parametrize("arguments", [(), ("cache",)])
def test_command_alone_shows_its_help_and_no_empty_error(
    in_a_process: Madpipe, arguments: tuple[str, ...]
) -> None:
    answer = in_a_process(*arguments)
    assert answer.returncode == 2
    assert "Usage: madpipe" in answer.stdout + answer.stderr
    assert "command line: ;" not in answer.stderr


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
    in_a_process: Madpipe, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "pipeline.toml").touch()
    answer = in_a_process(*arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == message + "\n"


def test_architecture_that_does_not_exist_is_a_fault_of_its_setting(
    in_a_process: Madpipe, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.toml").write_text("\n[student]\narch = 'resnet99'\n", encoding="utf-8")
    answer = in_a_process("plan", "--set", "teacher.arch=zzz")
    assert answer.returncode == 2
    in_the_file, of_the_override = answer.stderr.splitlines()
    assert in_the_file.startswith("pipeline.toml:3: student.arch: no such architecture, did you ")
    assert "(resnet99); name one of resnet" in in_the_file
    assert of_the_override.startswith("--set teacher.arch: no such architecture (zzz); name one of")


def test_every_fault_of_the_settings_is_a_line_of_its_own(
    in_a_process: Madpipe, tmp_path: Path
) -> None:
    text = "[distill]\nrounds = 0\n[gates]\nspeedup = 1\n"
    (tmp_path / "pipeline.toml").write_text(text, encoding="utf-8")
    answer = in_a_process("plan")
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == [
        "pipeline.toml:2: distill.rounds: not an integer >= 1 (0); give an integer >= 1",
        "pipeline.toml:4: gates.speedup: not a table (1); give a table",
    ]


def test_traceback_is_shown_only_when_asked_for(in_a_process: Madpipe) -> None:
    assert "Traceback" not in in_a_process("plan").stderr
    answer = in_a_process("plan", "--traceback")
    assert "Traceback (most recent call last)" in answer.stderr
    assert answer.stderr.splitlines()[-1].startswith("pipeline.toml: no such file; ")
    assert answer.returncode == 2


def test_newer_working_folder_is_exit_code_1(in_a_process: Madpipe, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").touch()
    (tmp_path / ".madpipe").mkdir()
    (tmp_path / ".madpipe" / "layout.json").write_text('{"layout": 2}', encoding="utf-8")
    for verb in (("plan",), ("run", "all"), ("cache", "ls"), ("report",)):
        answer = in_a_process(*verb)
        assert answer.returncode == 1
        assert "was written by a newer madpipe (layout 2, this one knows 1)" in answer.stderr


def test_file_in_place_of_the_working_folder_is_exit_code_1(
    in_a_process: Madpipe, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.toml").touch()
    (tmp_path / "file").touch()
    answer = in_a_process("run", "all", MADPIPE_HOME=str(tmp_path / "file"))
    assert answer.returncode == 1
    assert answer.stderr == (
        f"{tmp_path}/file: is a file, not a folder; name a folder with MADPIPE_HOME\n"
    )


def test_what_the_machine_lacks_is_exit_code_5_before_anything_runs(
    in_a_process: Madpipe, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.toml").touch()
    answer = in_a_process("run", "all", "--set", "build.precision=fp8")
    assert answer.returncode == 5
    assert answer.stderr.startswith("build.precision: onnxruntime does not build it (fp8); ")
    assert not (tmp_path / ".madpipe" / "entries").exists()


def test_reader_that_goes_away_is_no_traceback(in_a_process: Madpipe, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").touch()
    assert in_a_process("plan").returncode == 0
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "plan"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait() != 0

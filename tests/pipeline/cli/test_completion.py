"""What the shell completes, asked for by a real bash, and what `madpipe help` explains."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import exit_codes
from pipeline.cli import completion

Call = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[3]
MAIN = "import sys; from pipeline.cli.main import main; main(sys.argv[1:])"
HEAVY = {"torch", "onnx", "onnxruntime", "numpy", "PIL"}


def _completed(bash: str, folder: Path, *words: str) -> list[str]:
    """Return what bash gets for the last of the words, by the script that madpipe prints."""
    program = folder / "madpipe"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{MAIN}' \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)
    script = (
        'eval "$(_MADPIPE_COMPLETE=source_bash madpipe)"\n'
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))\n'
        '_madpipe_completion madpipe; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        [bash, "--norc", "-c", script, "bash", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{folder}:{os.environ['PATH']}"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("madpipe", "run", "dis"), ["distill"]),
        (("madpipe", "run", "--set", "distill.rou"), ["distill.rounds=", "distill.rounds=400"]),
        (("madpipe", "run", "--set", "distill.method", "=", "m"), []),
    ],
)
def test_a_real_bash_completes(tmp_path: Path, words: tuple[str, ...], expected: list[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    assert _completed(bash, tmp_path, *words) == expected


def test_completing_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom pipeline.cli.main import main\n"
        "try:\n    main([])\nfinally:\n    print('imported', *sys.modules)\n"
    )
    environment = {"_MADPIPE_COMPLETE": "complete_bash", "COMP_WORDS": "madpipe\nrun\n"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment | {"COMP_CWORD": "2", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    *names, modules = done.stdout.splitlines()
    assert names == ["all", "teacher", "distill", "export", "build", "validate"]
    assert not HEAVY & set(modules.split())


def test_settings_are_completed_with_their_sentences() -> None:
    keys = dict(completion.settings("bank."))
    assert keys["bank.keep="].startswith("whether synthetic images stay")
    assert "bank.keep=True" not in keys
    assert "bank.keep=true" in keys
    several = dict(completion.settings("distill.student_"))
    assert all(key.endswith("=") for key in several)
    assert len(several) > 2
    assert dict(completion.settings("nothing")) == {}


def test_stages_presets_and_topics_are_completed() -> None:
    assert completion.stages("e") == ["export"]
    assert completion.stages_or_all("a") == ["all"]
    assert completion.presets("cif") == ["cifar10", "cifar100"]


def test_only_bash_splits_words_at_an_equals_sign() -> None:
    words = {"COMP_WORDS": "madpipe\nrun\n--set\na.b\n=\n4", "COMP_CWORD": "5"}
    assert completion.is_of_a_value(words | {"_MADPIPE_COMPLETE": "complete_bash"})
    assert not completion.is_of_a_value(words | {"_MADPIPE_COMPLETE": "complete_zsh"})
    assert not completion.is_of_a_value({"_MADPIPE_COMPLETE": "complete_bash"})


@pytest.mark.parametrize("entry", exit_codes.ALL, ids=lambda entry: str(entry.code))
def test_help_explains_each_exit_code_and_the_command_names_it(
    madpipe: Call, entry: exit_codes.ExitCode
) -> None:
    code, out, _ = madpipe("help", str(entry.code))
    assert code == 0
    words = " ".join(out.split())
    assert words == f"{entry.code}: {entry.summary} {entry.meaning} What to do: {entry.remedy}"
    assert words in " ".join(madpipe("help", "exit-codes")[1].split())
    overview = " ".join(madpipe("--help")[1].split())
    assert f"{entry.code} {entry.summary}" in overview


def test_help_explains_commands_and_refuses_what_is_none(madpipe: Call) -> None:
    assert "Usage: madpipe" in madpipe("help")[1]
    code, out, _ = madpipe("help", "why")
    assert code == 0
    assert "madpipe why" in out
    code, _, err = madpipe("help", "exprt")
    assert code == 2
    assert "did you mean 'export'" in err

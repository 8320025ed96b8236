"""Errors have an exit code, a place, a fault and a remedy, and cross processes unchanged."""

import ast
import builtins
import importlib
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from pipeline import errors, exit_codes
from pipeline.errors import StageError
from pipeline.requirements import NeedsModule

ROOT = Path(__file__).parents[2]
FAULT = (("data", "root"), "is wrong (x)", "do that")
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "ConfigError": (["one", "two"],),
    "SettingsFault": ([FAULT, FAULT],),
    "NetworkFault": ("is wrong (3)", "do that"),
    "UnknownArchitecture": ("is wrong (3)", "do that"),
    "UnusableProgram": ("is wrong (3)", "do that"),
    "UndecidedImage": ("are wrong", "do that"),
}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("MadpipeError", 1),
        ("UsageError", 2),
        ("StageError", 1),
        ("UndeclaredAccess", 1),
        ("StoreError", 1),
        ("LockedError", 1),
        ("UnavailableError", 5),
        ("Interrupted", 130),
    ],
)
def test_error_has_its_exit_code_and_its_three_parts(name: str, code: int) -> None:
    error = getattr(errors, name)("here", "is wrong (3)", "do that")
    assert isinstance(error, errors.MadpipeError)
    assert error.exit_code == code
    assert str(error) == "here: is wrong (3); do that"
    assert (error.place, error.wrong, error.remedy) == ("here", "is wrong (3)", "do that")


def test_exit_codes_are_the_promised_ones() -> None:
    codes = {name: value for name, value in vars(exit_codes).items() if isinstance(value, int)}
    assert codes == {
        "DONE": 0,
        "FAILED": 1,
        "WRONG_USAGE": 2,
        "GATE_FAILED": 3,
        "GATE_INCONCLUSIVE": 4,
        "UNAVAILABLE": 5,
        "INTERRUPTED": 130,
    }


def test_faults_of_settings_are_lines() -> None:
    error = errors.ConfigError(["one", "two"])
    assert (str(error), error.faults, error.exit_code) == ("one\ntwo", ("one", "two"), 2)


def test_fault_without_its_line_names_its_key() -> None:
    error = errors.SettingsFault([FAULT])
    assert (str(error), error.exit_code) == ("data.root: is wrong (x); do that", 2)


def exceptions_of_the_product() -> list[tuple[str, str]]:
    """Return module and name of every exception that is defined in the product."""
    known = {name for name, value in vars(builtins).items() if _is_exception(value)}
    classes = []
    for path in sorted(
        path for top in ("pipeline", "models", "stages") for path in (ROOT / top).rglob("*.py")
    ):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                classes.append((module, node.name, bases))
    exceptions: list[tuple[str, str]] = []
    while new := [item for item in classes if item[2] & known and item[1] not in known]:
        known |= {name for _, name, _ in new}
        exceptions += [(module, name) for module, name, _ in new]
    return exceptions


def _is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


@pytest.mark.parametrize(("module", "name"), exceptions_of_the_product())
def test_every_exception_of_the_product_can_be_pickled(module: str, name: str) -> None:
    kind = getattr(importlib.import_module(module), name)
    is_ours = issubclass(kind, errors.MadpipeError)
    arguments = ARGUMENTS.get(name, ("here", "is wrong (3)", "do that") if is_ours else ())
    error = kind(*arguments)
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301  (bytes of our own)
    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


def test_error_raised_in_another_process_arrives_whole() -> None:
    absent = NeedsModule(setting="build.backend", module="gone", install="pip install gone")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        error = pool.submit(absent.check).exception(60)
    assert isinstance(error, errors.UnavailableError)
    assert str(error).startswith("build.backend: needs a package that is not installed (gone); ")
    assert error.remedy == "run pip install gone"


@pytest.mark.parametrize(
    ("error", "line", "summary"),
    [
        (ValueError("one\ntwo"), "one", "ValueError: one"),
        (ValueError("\n\n  two\n"), "two", "ValueError: two"),
        (ValueError(), "ValueError", "ValueError"),
    ],
)
def test_foreign_error_is_one_line(error: Exception, line: str, summary: str) -> None:
    assert errors.first_line(error) == line
    assert errors.error_summary(error) == summary


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("distil", ", did you mean 'distill'?"),
        ("alhpa", ", did you mean 'alpha'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_nearest_known_name_is_offered(name: str, guess: str) -> None:
    assert errors.did_you_mean(name, ["distill", "alpha", "build"]) == guess
    assert errors.did_you_mean(name, []) == ""


def test_a_file_name_that_is_not_text_can_be_printed() -> None:
    name = os.fsdecode(b"caf\xe9")
    error = StageError("data.root", f"is no image ({name})", "repair it")
    assert str(error) == r"data.root: is no image (caf\xe9); repair it"

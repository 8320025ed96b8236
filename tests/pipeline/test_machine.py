"""Facts of the machine come from its own tools, and their absence is a fact too."""

import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from pipeline import machine


@pytest.fixture(autouse=True)
def _gpus_are_asked_anew() -> Iterator[None]:
    machine.gpus.cache_clear()
    yield
    machine.gpus.cache_clear()


def smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program called nvidia-smi before all others."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_gpus_are_those_that_the_driver_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi(tmp_path, "echo 'NVIDIA H200, 9.0, 570.1'; echo 'NVIDIA T4, 7.5, 570.1'", monkeypatch)
    assert machine.gpus() == (("NVIDIA H200", "9.0", "570.1"), ("NVIDIA T4", "7.5", "570.1"))
    assert machine.fact("gpu") == "NVIDIA H200 (9.0)"
    assert machine.fact("driver") == "570.1"


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "true"])
def test_driver_that_reports_none_is_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    smi(tmp_path, script, monkeypatch)
    assert machine.gpus() == ()
    assert machine.fact("gpu") == "absent (absent)"
    assert machine.fact("driver") == "absent"


def test_processor_has_a_name_and_cores() -> None:
    assert machine.cpu_model()
    assert machine.cpu_count() >= 1
    assert machine.fact("cpu") == f"{machine.cpu_model()} x{machine.cpu_count()}"


def test_unknown_fact_is_an_error() -> None:
    with pytest.raises(KeyError):
        machine.fact("moon")


def test_versions_are_those_installed_or_absent() -> None:
    assert machine.version("pytest") == metadata.version("pytest")
    assert machine.version("no-such-package") == "absent"
    assert machine.version("no-such-package|pytest") == metadata.version("pytest")


def test_modules_are_found_without_being_imported() -> None:
    assert machine.has_module("msgspec")
    assert not machine.has_module("no_such_module")


def test_abilities_of_the_processor_are_a_fact_of_their_own() -> None:
    told = machine.fact("cpu_features")
    assert told == (" ".join(sorted(machine.cpu_features())) or machine.ABSENT)

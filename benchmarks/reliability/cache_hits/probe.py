"""Asking for keys in processes of their own, one for each change or one for many."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PROGRAM = Path(__file__).with_name("keys_probe.py")
_ROOT = Path(__file__).parents[3]
PACKAGES = ("models", "pipeline", "stages")
Keys = dict[str, str]
"""By stage."""


def copy_sources(folder: Path) -> Path:
    """Copy our packages into a folder that is to come first on Python's path; return it."""
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_ROOT / name, folder / name, ignore=ignored)
    return folder


def ask(
    project: Path,
    *,
    first: Path = _ROOT,
    facts: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Keys:
    """Return the keys of a project's stages as a new process sees them.

    Args:
        project: Its folder.
        first: What comes first on Python's path.
        facts: Facts of the machine that are to be others; see `keys_probe`.
        variables: More of the environment.

    Raises:
        AssertionError: The process failed.
    """
    done = subprocess.run(
        [sys.executable, _PROGRAM, project, json.dumps(facts or {})],
        env=_environment(first) | dict(variables or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"the keys cannot be had: {done.stderr.strip().splitlines()[-1:]}")
    keys: Keys = json.loads(done.stdout.splitlines()[-1])
    return keys


class Prober:
    """A process that has the projects open and says their keys after each change of a source."""

    def __init__(self, sources: Path, projects: Sequence[Path]) -> None:
        """Start it on a copy of the sources; `keys` is what it says before any change."""
        self._process = subprocess.Popen(
            [sys.executable, _PROGRAM, *projects],
            env=_environment(sources),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.keys = self._answer()

    def changed(self, file: Path, text: str) -> dict[str, frozenset[str]]:
        """Return the stages of each project whose keys are others while a source is another."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"file": str(file), "text": text}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        return {name: changed(keys, answer[name]) for name, keys in self.keys.items()}

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> dict[str, Keys]:
        assert self._process.stdout is not None
        answer: dict[str, Keys] = json.loads(self._process.stdout.readline())
        return answer


def _environment(first: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys((str(first), str(_ROOT))))}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """Return the stages whose keys differ."""
    stages = {*before, *after}
    return frozenset(stage for stage in stages if before.get(stage) != after.get(stage))


def judged(expected: frozenset[str], seen: frozenset[str]) -> str:
    """Return what is wrong with the stages whose keys changed; empty where nothing is."""
    faults = []
    if missed := sorted(expected - seen):
        faults.append(f"WRONG HIT of {', '.join(missed)}: expected another key, seen the same")
    if needless := sorted(seen - expected):
        faults.append(f"needless run of {', '.join(needless)}: expected the same key, seen another")
    return "; ".join(faults)

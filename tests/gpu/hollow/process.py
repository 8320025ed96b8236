"""Processes on hollow CUDA, for tests."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline import machine
from tests.gpu.hollow import libraries

_LAST_CHARACTERS = 6000


def why_skipped() -> str | None:
    """Return why tests with hollow CUDA cannot run here, None where they can."""
    if machine.gpus():
        return "a real GPU is here"
    return libraries.why_absent()


@dataclass(frozen=True, slots=True)
class Running:
    """A process that has been started."""

    name: str
    process: "subprocess.Popen[str]"

    def output(self, timeout_s: float = 550.0) -> str:
        """Return what it printed once it has ended; the test fails with it."""
        try:
            printed, _ = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            printed, _ = self.process.communicate()
        if code := self.process.returncode:
            printed = printed[-_LAST_CHARACTERS:]
            pytest.fail(f"{self.name} ended with {code}:\n{printed}", pytrace=False)
        return printed


@dataclass(frozen=True, slots=True)
class HollowCuda:
    """The libraries in a folder, and what runs on them."""

    folder: Path

    def start(self, module: str, *arguments: str, gpus: int = 1) -> Running:
        """Start a module in a process of its own.

        Args:
            module: Its name; what it does stands under `if __name__ == "__main__"`.
            arguments: Of its command line.
            gpus: How many GPUs it sees.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.gpu.hollow.run", module, *arguments],
            cwd=libraries.ROOT,
            env=os.environ | libraries.environment(self.folder, gpus),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Running(" ".join((module, *arguments)), process)

    def run(self, module: str, *arguments: str, gpus: int = 1, timeout_s: float = 550.0) -> str:
        """Run a module to its end and return what it prints; the test fails with it."""
        return self.start(module, *arguments, gpus=gpus).output(timeout_s)

    def start_tests(self, *arguments: str, gpus: int = 1) -> Running:
        """Start pytest with arguments, in a process of its own."""
        options = ("-q", "-p", "no:cacheprovider", "-p", "no:logging")
        return self.start("pytest", *options, *arguments, gpus=gpus)


def provide(folder: Path) -> HollowCuda:
    """Return hollow CUDA with its libraries in `folder`, or skip the test.

    Where REQUIRE_HOLLOW_CUDA is set, as by `.ci/run`, it fails instead.
    """
    if why := why_skipped():
        end = pytest.fail if "REQUIRE_HOLLOW_CUDA" in os.environ else pytest.skip
        end(f"no hollow CUDA: {why}")
    libraries.build(folder)
    return HollowCuda(folder)

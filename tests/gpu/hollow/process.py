"""Processes on hollow CUDA, for tests."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline import machine
from tests.gpu.hollow import libraries

_SHOWN_CHARACTERS = 6000


def why_skipped() -> str | None:
    """Return why tests with hollow CUDA cannot run here, None where they can."""
    if machine.gpus():
        return "a real GPU is here"
    return libraries.why_absent()


@dataclass(frozen=True, slots=True)
class HollowCuda:
    """The libraries in a folder, and what runs on them."""

    folder: Path

    def run(self, module: str, *arguments: str, gpus: int = 1, timeout_s: float = 300.0) -> str:
        """Run a module of ours to its end and return what it prints; the test fails with it.

        Args:
            module: Its name; what it does stands under `if __name__ == "__main__"`.
            arguments: Of its command line.
            gpus: How many GPUs it sees.
            timeout_s: When it is ended.
        """
        done = subprocess.run(
            [sys.executable, "-m", "tests.gpu.hollow.run", module, *arguments],
            cwd=libraries.ROOT,
            env=os.environ | libraries.environment(self.folder, gpus),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        if done.returncode:
            output = (done.stdout + done.stderr)[-_SHOWN_CHARACTERS:]
            pytest.fail(f"{module} ended with {done.returncode}:\n{output}", pytrace=False)
        return done.stdout

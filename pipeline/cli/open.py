"""Where the core meets the stages: the one place that knows both, and opens projects."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.gates import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS
from pipeline.project import Project
from stages.catalog import declare


def open_project(config: Path, overrides: Sequence[str] | None) -> Project:
    """Read the settings, declare the stages and name the working folder.

    Raises:
        ConfigError: The settings are wrong.
        StoreError: The working folder is of a newer layout.
    """
    return Project.open(config, overrides or (), declare)


def inconclusive_code(choice: str | None) -> int:
    """Return the exit code of a gate that cannot decide."""
    return {"pass": EXIT_PASS, "fail": EXIT_FAIL}.get(choice or "", EXIT_INCONCLUSIVE)

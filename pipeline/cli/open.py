"""Where the core meets the stages: the one place that knows both, and opens projects."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.cli import torchrun
from pipeline.errors import UsageError
from pipeline.gates.judge import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS
from pipeline.project import Project
from stages.catalog import declare


def open_project(config: Path, overrides: Sequence[str] | None) -> Project:
    """Read the settings, declare the stages and name the working folder.

    Raises:
        ConfigError: The settings are wrong, also for the processes that torchrun started.
        UsageError: torchrun started other processes than the settings say.
        StoreError: The working folder is of a newer layout.
    """
    asked = tuple(overrides or ())
    project = Project.open(config, asked, declare)
    size = torchrun.size()
    if size is None or project.settings.distill.processes == size:
        return project
    is_asked = any(each.partition("=")[0].strip() == "distill.processes" for each in asked)
    if is_asked or project.settings.distill.processes != 1:
        raise UsageError(
            "distill.processes",
            f"torchrun started {size} processes, the settings say "
            f"{project.settings.distill.processes}",
            "start as many, or leave the setting out",
        )
    return Project.open(config, (*asked, f"distill.processes={size}"), declare)


def inconclusive_code(choice: str | None) -> int:
    """Return the exit code of a gate that cannot decide."""
    return {"pass": EXIT_PASS, "fail": EXIT_FAIL}.get(choice or "", EXIT_INCONCLUSIVE)

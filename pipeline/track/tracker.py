"""What a tracker is to madpipe, and which there are. Knows nothing of events nor of any client."""

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, cast

from pipeline import collector
from pipeline.errors import error_summary
from pipeline.settings import TrackerName

Outcome = Literal["done", "failed", "interrupted"]
Scalar = str | int | float | bool


class RunInfo(NamedTuple):
    """What a tracker is opened with."""

    project: str
    name: str
    """Of the run; another run may have it too."""
    run_id: str | None
    """What the tracker called the run that goes on, None where one begins."""
    folder: Path
    """Where it writes if it has no server of its own."""
    settings: Mapping[str, Scalar]
    """Flat, by their dotted names."""
    wait_s: float
    """How long it may take to close."""


class Tracker(Protocol):
    """A run in a tracker. Every method may raise whatever its client raises, and may block.

    Figures have a group, the stage whose curves they are or `result/` and what they are a result
    of; a figure's full name is `group/name`.
    """

    run_id: str
    """By which `RunInfo` names the run when it goes on."""

    def last_steps(self) -> Mapping[str, int] | None:
        """Return the last step of each group there is, None where the client cannot tell."""

    def point(self, group: str, unit: str, step: int, figures: Mapping[str, float]) -> None:
        """Add a point to the curves of a group, `step` units after its start."""

    def results(self, group: str, figures: Mapping[str, float]) -> None:
        """Record figures that a run has once."""

    def labels(self, labels: Mapping[str, str]) -> None:
        """Record texts to find and compare runs by, such as the verdict of a gate."""

    def text(self, name: str, markdown: str) -> None:
        """Record a text; another of its name takes its place."""

    def picture(self, name: str, step: int, png: bytes) -> None:
        """Add a picture to those of its name."""

    def artefact(self, path: Path) -> None:
        """Keep a file, which is removed once the tracker is closed."""

    def flush(self) -> None:
        """Make visible what was recorded so far."""

    def close(self, outcome: Outcome) -> None:
        """End the run, or leave it to go on where it was interrupted."""


class Opener(Protocol):
    """A module of this folder that is named as its tracker."""

    def open_run(self, info: RunInfo) -> Tracker:
        """Begin a run, or go on with one."""


class NoClientError(Exception):
    """The client of a tracker is not installed, or cannot be imported."""


def opener(name: TrackerName) -> Opener:
    """Import and return what opens runs of a tracker.

    Raises:
        NoClientError: Its client is not installed, or cannot be imported.
    """
    if importlib.util.find_spec(name) is None:
        message = f"{name} is not installed; pip install 'madpipe[{name}]'"
        raise NoClientError(message)
    try:
        with collector.paused():
            return cast("Opener", importlib.import_module(f"pipeline.track.{name}_runs"))
    except Exception as error:  # what does not fit the other packages may raise anything
        wrong = f"{name} cannot be imported ({error_summary(error)})"
        message = f"{wrong}; pip install --upgrade 'madpipe[{name}]'"
        raise NoClientError(message) from error


def joined(texts: Mapping[str, str]) -> str:
    """Return named texts as one, for trackers that have one for a run."""
    return "\n\n".join(f"## {name}\n\n{markdown}" for name, markdown in texts.items())

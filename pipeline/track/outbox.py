"""What is on its way to one tracker: a bounded queue, which a thread of its own delivers.

However slow a tracker is, whoever puts something never waits: what finds the queue full is dropped
and counted. The first thing that a tracker raises ends it for the run.
"""

import queue
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import error_summary
from pipeline.track.resumption import Resumption
from pipeline.track.tracker import Opener, Outcome, RunInfo, Tracker

_MOST_WAITING = 2000
_CREDENTIALS = re.compile(r"(?<=//)[^/\s]+@|(?<=\S)\?\S*=\S*")
"""Of a URL: user and password, and a query, which may hold a token or be a signature."""


class Point(NamedTuple):
    """A point of the curves of a group."""

    group: str
    unit: str
    step: int
    figures: Mapping[str, float]


class Results(NamedTuple):
    """Figures that a run has once."""

    group: str
    figures: Mapping[str, float]
    step: int = 0


class Labels(NamedTuple):
    """Texts to find runs by."""

    labels: Mapping[str, str]


class Text(NamedTuple):
    """A text in Markdown."""

    name: str
    markdown: str


class Picture(NamedTuple):
    """A PNG."""

    name: str
    step: int
    png: bytes


class Artefact(NamedTuple):
    """A file to keep."""

    path: Path


class _End(NamedTuple):
    outcome: Outcome


Message = Point | Results | Labels | Text | Picture | Artefact


class Outbox:
    """Delivers to one tracker, in order."""

    def __init__(self, name: str, opener: Opener, info: RunInfo, resumption: Resumption) -> None:
        """Open the tracker's run on a thread of its own; nothing is waited for."""
        self.name = name
        self.failure: str | None = None
        """What the tracker raised, in one line; nothing is delivered any more."""
        self.dropped = 0
        """What was not put because the tracker was too slow."""
        self._opener, self._info, self._resumption = opener, info, resumption
        self._queue: queue.Queue[Message | _End] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._deliver_all, name=f"track-{name}", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> None:
        """Hand over something to deliver, if the tracker has not failed and there is room."""
        if self.failure is not None:
            return
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self.dropped += 1

    def close(self, outcome: Outcome) -> None:
        """End the run in the tracker behind all that was put before; waits for nothing."""
        try:
            self._queue.put_nowait(_End(outcome))
        except queue.Full:  # of a tracker that will not come to its end in time
            self.dropped += 1

    def undelivered(self, wait_s: float) -> int:
        """Return how much is on its way still, after waiting up to `wait_s` for the end."""
        self._thread.join(wait_s)
        return self._queue.qsize() + 1 if self._thread.is_alive() else 0

    def _deliver_all(self) -> None:
        try:
            tracker = self._opener.open_run(self._info)
            self._resumption.remember_run(self.name, tracker.run_id)
            recorded = tracker.last_steps()
            steps = {**self._resumption.steps(self.name), **(recorded or {})}
            while not isinstance(message := self._queue.get(), _End):
                series = _series(message)
                if series is not None:
                    if series.step <= steps.get(series.name, -1):
                        continue  # from before the run was stopped
                    steps[series.name] = series.step
                _deliver(tracker, message)
                # Of pictures no tracker can tell which it has.
                if series is not None and (recorded is None or isinstance(message, Picture)):
                    self._resumption.remember_step(self.name, series.name, series.step)
                if self._queue.empty():
                    tracker.flush()
            tracker.close(message.outcome)
        except Exception as error:  # noqa: BLE001  (clients raise what they like, and the run goes on)
            self.failure = _CREDENTIALS.sub("", error_summary(error))


class _Series(NamedTuple):
    """Where a message stands in what comes one after the other."""

    name: str
    step: int


def _series(message: Message) -> _Series | None:
    """Return the series that a message belongs to, None where it replaces what was before."""
    match message:
        case Point() | Results():
            return _Series(message.group, message.step)
        case Picture():
            return _Series(message.name, message.step)
        case _:
            return None


def _deliver(tracker: Tracker, message: Message) -> None:
    match message:
        case Point():
            tracker.point(message.group, message.unit, message.step, message.figures)
        case Results():
            tracker.results(message.group, message.figures)
        case Labels():
            tracker.labels(message.labels)
        case Text():
            tracker.text(message.name, message.markdown)
        case Picture():
            tracker.picture(message.name, message.step, message.png)
        case Artefact():
            tracker.artefact(message.path)

"""What happens during a run, as plain records handed to a list of sinks, and a log of them.

Kinds of event and their fields:

    run_started     stages, command
    stage_started   reason (list of text), resumed (bool)
    progress        done, total, unit, and any figures worth watching
    played          played, total, unit: how many of all a smoke run does
    note            text
    metric          name, value
    point           step, unit, figures (name -> number): one point of each curve of a training;
                    a stage that goes on repeats those from before it was stopped
    picture         name, step, path: a PNG, written over by the next of its name
    stage_done      status (hit | ran | resumed), seconds, key, metrics
    stage_failed    message
    waiting         text
    gate            name, verdict, value, interval, threshold, reason
    estimate        stages (name -> seconds or None), seconds, memory_bytes: of the real run
    run_done        exit_code, seconds

Of a sweep, whose events of one combination carry its number as well:

    sweep_started        combinations (list of text), stage, jobs
    combination_started  changes
    combination_done     the fields of its row in sweep.json
    sweep_done           exit_code, seconds, page, smallest, options
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline import stored_files
from pipeline.atomic import naming
from pipeline.texts import values_as_utf8

_PROGRESS_SHARE = 0.002
"""Of a session's time: how far apart a log has its progress, and by how much `logged_s` is off."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    time_s: float
    kind: str
    stage: str | None = None
    fields: dict[str, Any] = {}

    @classmethod
    def now(cls, kind: str, fields: Mapping[str, Any], stage: str | None = None) -> "Event":
        """Return an event of this moment."""
        return cls(time_s=time.time(), kind=kind, stage=stage, fields=dict(fields))

    def as_dict(self) -> dict[str, Any]:
        r"""Return the event as one flat record, as `--json` prints it.

        Bytes of paths in it that are not UTF-8 read as `\xe9`.
        """
        head: dict[str, Any] = {"time_s": round(self.time_s, 3), "kind": self.kind}
        if self.stage is not None:
            head["stage"] = self.stage
        record: dict[str, Any] = values_as_utf8(head | self.fields)
        return record


Sink = Callable[[Event], None]
EVENTS_FILE = "events.jsonl"
"""In the work of a stage, and then in its entry."""


def broadcast(sinks: list[Sink], kind: str, stage: str | None, fields: Mapping[str, Any]) -> None:
    """Hand one event, stamped with the time, to every sink in order."""
    event = Event.now(kind, fields, stage)
    for sink in sinks:
        sink(event)


@contextlib.contextmanager
def event_log(path: Path) -> Iterator[Sink]:
    """Yield a sink that keeps the events of one stage as JSON lines in `path`, for the report.

    It appends: a resumed stage goes on with the events of its first session, but for a last line
    that a kill or a full disk cut short. Progress comes less often the longer the session is, so
    that a log of days is no larger than a few of hours. A write that fails raises OSError, which
    names the file.
    """
    begin_s: float | None = None
    kept_s: dict[str, float] = {}
    with path.open("ab", buffering=0) as file:
        content = path.read_bytes()
        file.truncate(content.rfind(b"\n") + 1)

        def write(event: Event) -> None:
            nonlocal begin_s
            begin_s = event.time_s if begin_s is None else begin_s
            if event.kind == "progress" and event.fields.get("done") != event.fields.get("total"):
                unit = str(event.fields.get("unit"))
                # The clock may be set back meanwhile.
                since_s = abs(event.time_s - kept_s.get(unit, -math.inf))
                if since_s < _PROGRESS_SHARE * (event.time_s - begin_s):
                    return
                kept_s[unit] = event.time_s
            line = msgspec.json.encode(event.as_dict()) + b"\n"
            with naming(path):
                while line:  # a disk that becomes full takes a part, and says so the next time
                    line = line[file.write(line) :]

        yield write


def logged_s(path: Path) -> float:
    """Return the seconds that the sessions in a log took, each from its start to its last event."""
    total_s, last_s = 0.0, math.inf
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            event = stored_files.decode(line, Event)
        except msgspec.DecodeError:
            continue  # a kill can cut the last line short
        if event.kind != "stage_started":
            total_s += max(0.0, event.time_s - last_s)  # the clock may have been set back
        last_s = event.time_s
    return total_s

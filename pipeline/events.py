"""What happens during a run, as plain records handed to a list of sinks.

Stages and the runner emit; screens and log files receive. Knows nothing of either side.

Kinds of event and their fields:

    run_started     stages, command
    stage_started   reason (list of text), resumed (bool)
    progress        done, total, unit, and any metrics worth showing
    note            text
    metric          name, value
    stage_done      status (hit | ran | resumed), seconds, key, metrics
    stage_failed    message
    waiting         text
    gate            name, verdict, value, interval, threshold, reason
    run_done        exit_code, seconds
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    time_s: float
    kind: str
    stage: str | None = None
    fields: dict[str, Any] = {}

    def as_dict(self) -> dict[str, Any]:
        """Return the event as one flat record, as `--json` prints it."""
        head: dict[str, Any] = {"time_s": round(self.time_s, 3), "kind": self.kind}
        if self.stage is not None:
            head["stage"] = self.stage
        return head | self.fields


Sink = Callable[[Event], None]


def broadcast(sinks: list[Sink], kind: str, stage: str | None, fields: Mapping[str, Any]) -> None:
    """Hand one event, stamped with the time, to every sink in order."""
    event = Event(time_s=time.time(), kind=kind, stage=stage, fields=dict(fields))
    for sink in sinks:
        sink(event)

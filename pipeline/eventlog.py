"""The events of one stage as a file of JSON lines, kept with its entry for the report."""

from pathlib import Path
from typing import Self

import msgspec

from pipeline.events import Event


class EventLog:
    """A sink that writes each event as one line."""

    def __init__(self, path: Path) -> None:
        """Append to `path`: a resumed stage goes on with the events of its first part."""
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def __call__(self, event: Event) -> None:
        """Write one event."""
        self._file.write(msgspec.json.encode(event.as_dict()) + b"\n")


def spent_s(path: Path) -> float:
    """Return the seconds that earlier sittings of a stage took, each up to its last event."""
    total_s, begin_s, last_s = 0.0, 0.0, 0.0
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for line in lines:
        try:
            event = msgspec.json.decode(line, type=_Timed)
        except msgspec.DecodeError:
            continue  # a kill can cut the last line short
        if event.kind == "stage_started":
            total_s += last_s - begin_s
            begin_s = event.time_s
        last_s = event.time_s
    return total_s + last_s - begin_s


class _Timed(msgspec.Struct):
    kind: str
    time_s: float

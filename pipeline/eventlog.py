"""The events of one stage as a file of JSON lines, kept with its entry for the report."""

from pathlib import Path
from typing import Self

import msgspec

from pipeline.events import Event


class EventLog:
    """A sink that writes each event as one line."""

    def __init__(self, path: Path) -> None:
        """Append to `path`: a resumed stage goes on with the events of its first part."""
        self._file = path.open("ab")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def __call__(self, event: Event) -> None:
        """Write one event."""
        self._file.write(msgspec.json.encode(event.as_dict()) + b"\n")

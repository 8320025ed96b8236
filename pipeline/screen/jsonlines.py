"""One JSON object a line on standard output, for programs."""

import sys

import msgspec

from pipeline.events import Event


class JsonScreen:
    """Writes every event as it happens."""

    def __call__(self, event: Event) -> None:
        """Write one event."""
        sys.stdout.write(msgspec.json.encode(event.as_dict()).decode() + "\n")
        sys.stdout.flush()

    def close(self) -> None:
        """Do nothing: every line is already out."""

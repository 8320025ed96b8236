"""The events of a stage are kept as lines, and a second part goes on with the first."""

import json
from pathlib import Path

from pipeline.eventlog import EventLog
from pipeline.events import Event


def note(text: str) -> Event:
    return Event(time_s=1.0, kind="note", stage="make", fields={"text": text})


def test_log_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for text in ("one", "two\nlines"):
        with EventLog(path) as log:
            log(note(text))
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [each["text"] for each in records] == ["one", "two\nlines"]
    assert records[0] == {"time_s": 1.0, "kind": "note", "stage": "make", "text": "one"}

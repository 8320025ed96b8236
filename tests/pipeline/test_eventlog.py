"""The events of a stage are kept as lines, and a second part goes on with the first."""

import json
from pathlib import Path

from pipeline.eventlog import EventLog, spent_s
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


def test_sittings_of_a_stage_add_up_to_their_last_events(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    moments = [("stage_started", 10.0), ("progress", 14.0), ("stage_started", 100.0)]
    with EventLog(path) as log:
        for kind, time_s in [*moments, ("progress", 102.5)]:
            log(Event(time_s=time_s, kind=kind, stage="make"))
    with path.open("ab") as file:
        file.write(b'{"time_s": 9')
    assert spent_s(path) == 6.5


def test_a_stage_that_never_sat_spent_nothing(tmp_path: Path) -> None:
    assert spent_s(tmp_path / "events.jsonl") == 0.0

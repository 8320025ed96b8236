"""Events reach every sink in order, are flat records for programs, and are logged as lines."""

import json
import os
import subprocess
import sys
from pathlib import Path

from pipeline.events import Event, broadcast, event_log, logged_s


def test_every_sink_gets_the_same_event() -> None:
    first: list[Event] = []
    second: list[Event] = []
    broadcast([first.append, second.append], "note", "make", {"text": "hello"})
    assert first == second
    assert (first[0].kind, first[0].stage, first[0].fields) == ("note", "make", {"text": "hello"})
    assert first[0].time_s > 0


def test_event_is_one_flat_record() -> None:
    event = Event(time_s=1.23456, kind="note", stage="make", fields={"text": "hello"})
    assert event.as_dict() == {"time_s": 1.235, "kind": "note", "stage": "make", "text": "hello"}
    assert Event(time_s=1.0, kind="run_done").as_dict() == {"time_s": 1.0, "kind": "run_done"}


def note(text: str) -> Event:
    return Event(time_s=1.0, kind="note", stage="make", fields={"text": text})


def test_bytes_of_a_path_that_are_not_utf_8_can_be_read(tmp_path: Path) -> None:
    path = os.fsdecode(b"caf\xe9/live.png")
    event = Event.now("picture", {"path": path, "names": [path], "figures": {path: 1.5}}, "make")
    expected = r"caf\xe9/live.png"
    record = event.as_dict()
    assert (record["path"], record["names"]) == (expected, [expected])
    assert record["figures"] == {expected: 1.5}
    assert event.fields["path"] == path
    with event_log(tmp_path / "log") as log:
        log(event)
    assert json.loads((tmp_path / "log").read_text(encoding="utf-8"))["path"] == expected


def test_log_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for text in ("one", "two\nlines"):
        with event_log(path) as log:
            log(note(text))
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [record["text"] for record in records] == ["one", "two\nlines"]
    assert records[0] == {"time_s": 1.0, "kind": "note", "stage": "make", "text": "one"}


def test_log_goes_on_behind_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for text in ("one", "two"):
        with event_log(path) as log:
            log(note(text))
        with path.open("ab") as file:
            file.write(b'{"time_s": 9')  # a kill cuts it short
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines[:-1]] == ["one", "two"]


def test_the_log_of_days_is_no_larger_than_a_few_of_hours(tmp_path: Path) -> None:
    def lines(hours: int) -> list[dict[str, object]]:
        path = tmp_path / f"{hours}.jsonl"
        total = hours * 7200
        with event_log(path) as log:
            for done in range(total + 1):
                fields = {"done": done, "total": total, "unit": "rounds"}
                log(Event(time_s=100 + done / 2, kind="progress", stage="make", fields=fields))
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    hour, days = lines(1), lines(24)
    assert len(days) < 2 * len(hour) < 5000
    assert (days[0]["done"], days[-1]["done"]) == (0, 24 * 7200)


def test_the_log_goes_on_where_the_clock_is_set_back(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with event_log(path) as log:
        for time_s in (10_000.0, 50_000.0, 200.0, 201.0):
            fields = {"done": 1, "total": 9, "unit": "rounds"}
            log(Event(time_s=time_s, kind="progress", fields=fields))
    assert len(path.read_bytes().splitlines()) == 4


def test_sessions_of_a_stage_add_up_each_to_its_last_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    times = [("stage_started", 10.0), ("progress", 14.0), ("stage_started", 100.0)]
    with event_log(path) as log:
        for kind, time_s in [*times, ("progress", 102.5)]:
            log(Event(time_s=time_s, kind=kind, stage="make"))
    with path.open("ab") as file:
        file.write(b'{"time_s": 9')
    assert logged_s(path) == 6.5


def test_stage_without_a_log_took_no_time(tmp_path: Path) -> None:
    assert logged_s(tmp_path / "events.jsonl") == 0.0


def test_a_line_that_was_cut_short_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"time_s": 9')
    with event_log(path) as log:
        log(note("next"))
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["text"] == "next"


def test_a_disk_that_becomes_full_within_a_line_is_an_error_that_names_the_log(
    tmp_path: Path,
) -> None:
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from pipeline.events import Event, event_log\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
        "with event_log(Path(sys.argv[1])) as log: log(Event.now('note', {'text': 'x' * 40}))"
    )
    path = tmp_path / "events.jsonl"
    command = [sys.executable, "-c", script, str(path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert f"File too large: '{path}'" in answer.stderr


def test_a_clock_that_is_set_back_takes_no_time_off_a_stage(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    times = [("stage_started", 1e9), ("progress", 1e9 + 4), ("progress", 1e8), ("note", 1e8 + 2)]
    with event_log(path) as log:
        for kind, time_s in times:
            log(Event(time_s=time_s, kind=kind, stage="make"))
    assert logged_s(path) == 6.0

"""Every event is one JSON object a line, for programs."""

import json

import pytest

from pipeline.events import Event
from pipeline.screen.jsonlines import JsonScreen


def test_each_event_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen = JsonScreen()
    screen(Event(time_s=1.0, kind="note", stage="make", fields={"text": "two\nlines"}))
    screen(Event(time_s=2.0, kind="run_done", fields={"exit_code": 0}))
    screen.close()
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == {
        "time_s": 1.0,
        "kind": "note",
        "stage": "make",
        "text": "two\nlines",
    }
    assert json.loads(second) == {"time_s": 2.0, "kind": "run_done", "exit_code": 0}

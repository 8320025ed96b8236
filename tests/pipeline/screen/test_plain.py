"""Programs get JSON lines, terminals a live table, and everything else plain lines.

Plain lines report what starts, what ends, and now and then how far it is.
"""

import contextlib
import io
import json
import sys
import time
from typing import Any

import pytest

from pipeline.events import Event
from pipeline.screen.live_table import LiveScreen
from pipeline.screen.plain import JsonScreen, PlainScreen, ProgressLines, choose_screen


@pytest.fixture
def screen() -> PlainScreen:
    return PlainScreen()


def event(kind: str, stage: str | None = None, time_s: float = 0.0, **fields: Any) -> Event:
    return Event(time_s=time_s, kind=kind, stage=stage, fields=fields)


CASES = [
    (event("run_started", stages=["a"], command="x"), ""),
    (
        event("stage_started", "distill", reason=["never run"], resumed=False),
        "distill   start  never run\n",
    ),
    (
        event("stage_started", "distill", reason=["a", "b", "c", "d"], resumed=True),
        "distill   resume a; b; c\n",
    ),
    (event("note", "distill", text="hello"), "distill   note   hello\n"),
    (event("waiting", text="for it"), "madpipe   note   for it\n"),
    (event("metric", "distill", name="x", value=1), ""),
    (
        event("stage_done", "distill", status="ran", seconds=61.2, key="k", metrics={"top1": 0.5}),
        "distill   ran    1 min 01 s  top1 0.5\n",
    ),
    (
        event("stage_done", "build", status="hit", seconds=0.0, key="k", metrics={}),
        "build     hit       0.0 s\n",
    ),
    (
        event("gate", name="speedup", verdict="inconclusive", reason="r"),
        "gate      inconclusive speedup: r\n",
    ),
    (event("run_done", exit_code=0, seconds=2.0), "madpipe   done in 2.0 s\n"),
    (event("something_new"), ""),
]


@pytest.mark.parametrize(("emitted", "expected"), CASES)
def test_event_has_its_line(
    screen: PlainScreen, capsys: pytest.CaptureFixture[str], emitted: Event, expected: str
) -> None:
    screen(emitted)
    screen.close()
    assert capsys.readouterr().out == expected


def test_progress_is_shown_every_ten_seconds(
    screen: PlainScreen, capsys: pytest.CaptureFixture[str]
) -> None:
    screen(event("stage_started", "distill", time_s=100.0, reason=[], resumed=False))
    capsys.readouterr()
    for second in range(1, 26):
        screen(
            event(
                "progress",
                "distill",
                time_s=100.0 + second,
                done=second,
                total=99,
                unit="rounds",
                loss=0.5,
            )
        )
    assert capsys.readouterr().out.splitlines() == [
        "distill   10/99 rounds, 1 min 29 s left  loss 0.5",
        "distill   20/99 rounds, 1 min 19 s left  loss 0.5",
    ]


def test_each_event_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_json_is_for_programs_wherever_it_goes() -> None:
    assert isinstance(choose_screen(as_json=True), JsonScreen)


def test_pipe_gets_plain_lines() -> None:
    assert isinstance(choose_screen(as_json=False), PlainScreen)


@pytest.mark.parametrize(("term", "kind"), [("xterm", LiveScreen), ("dumb", PlainScreen)])
def test_terminal_gets_a_live_table_unless_it_is_dumb(
    term: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert type(choose_screen(as_json=False)) is kind


def test_a_command_on_files_writes_its_progress_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter((0.0, 1.0, 11.0, 12.0))
    monkeypatch.setattr(time, "time", lambda: next(times))
    report = ProgressLines("validate")
    for done in (0, 5, 6):
        report(done, 10, "images (teacher)")
    assert capsys.readouterr() == ("", "validate  5/10 images (teacher), 10 s left\n")


def test_a_screen_goes_on_where_a_stage_leads_standard_output_away(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = choose_screen(as_json=False)
    with contextlib.redirect_stdout(io.StringIO()):
        screen(event("progress", "build", 20.0, done=3, total=9, unit="images calibrated"))
    assert capsys.readouterr().out == "build     3/9 images calibrated\n"

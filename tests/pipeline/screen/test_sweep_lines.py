"""Lines of a sweep carry the number of their combination, for people and for programs."""

import io
import json
import sys

import pytest

from pipeline.events import Event
from pipeline.screen.sweep_lines import (
    JsonSweepScreen,
    PlainSweepScreen,
    SweepScreen,
    choose_sweep_screen,
)

LABELS = ("a=1", "a=2")


def play(screen: SweepScreen) -> None:
    """Emit some events of two combinations in turns."""
    screen(None, Event.now("sweep_started", {"combinations": LABELS}))
    screen(None, Event.now("note", {"text": "of all"}))
    screen(1, Event.now("combination_started", {"changes": ["a=1"]}))
    screen(2, Event.now("waiting", {"text": "waits"}))
    screen(1, Event.now("stage_started", {"reason": ["never run"], "resumed": False}, "distill"))
    screen(1, Event.now("combination_done", {"state": "done"}))
    screen(2, Event.now("combination_done", {"state": "failed", "error": "a: b; c"}))
    screen.close()


def test_plain_lines_have_the_number_before_them() -> None:
    stream = io.StringIO()
    play(PlainSweepScreen(LABELS, stream))
    assert stream.getvalue().splitlines() == [
        "madpipe   note   of all",
        "[1/2] a=1",
        "[2/2] madpipe   note   waits",
        "[1/2] distill   start  never run",
        "[2/2] failed: a: b; c",
    ]


def test_json_lines_have_it_as_a_field() -> None:
    stream = io.StringIO()
    play(JsonSweepScreen(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event.get("combination") for event in events] == [None, None, 1, 2, 1, 1, 2]
    assert events[4]["stage"] == "distill"


def test_the_screen_is_chosen_by_what_is_asked_for() -> None:
    assert isinstance(choose_sweep_screen(LABELS, as_json=True), JsonSweepScreen)
    assert isinstance(choose_sweep_screen(LABELS, as_json=False), PlainSweepScreen)


class TerminalText(io.StringIO):
    """A text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", TerminalText())
    monkeypatch.setenv("TERM", "xterm")
    screen = choose_sweep_screen(LABELS, as_json=False)
    screen.close()
    assert type(screen).__name__ == "SweepTable"
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(choose_sweep_screen(LABELS, as_json=False), PlainSweepScreen)

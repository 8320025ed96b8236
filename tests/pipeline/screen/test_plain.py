"""Plain lines tell what starts, what ends, and now and then how far it is."""

from typing import Any

import pytest

from pipeline.events import Event
from pipeline.screen.plain import PlainScreen


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


@pytest.mark.parametrize(("shown", "expected"), CASES)
def test_event_has_its_line(
    screen: PlainScreen, capsys: pytest.CaptureFixture[str], shown: Event, expected: str
) -> None:
    screen(shown)
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
        "distill   10/99 rounds  loss 0.5",
        "distill   20/99 rounds  loss 0.5",
    ]

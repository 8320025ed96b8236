"""A tracker that is slow, raises or goes on: nobody waits for it, and no step comes twice."""

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.track import outbox as outboxes
from pipeline.track.outbox import Artefact, Labels, Outbox, Picture, Point, Results, Text
from pipeline.track.resumption import Resumption
from pipeline.track.tracker import Outcome, RunInfo

WAIT_S = 30.0


class Recorder:
    """A tracker in memory, and what opens it."""

    run_id = "r1"

    def __init__(self, steps: Mapping[str, int] | None = None) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.steps = steps
        self.may_open = threading.Event()
        self.may_open.set()

    def open_run(self, info: RunInfo) -> "Recorder":
        assert info.project == "p"
        assert self.may_open.wait(WAIT_S)
        return self

    def last_steps(self) -> Mapping[str, int] | None:
        return self.steps

    def point(self, group: str, unit: str, step: int, figures: Mapping[str, float]) -> None:
        self.calls.append(("point", group, unit, step, figures))

    def results(self, group: str, figures: Mapping[str, float]) -> None:
        self.calls.append(("results", group, figures))

    def labels(self, labels: Mapping[str, str]) -> None:
        if "bad" in labels:
            raise ConnectionError(labels["bad"])
        self.calls.append(("labels", labels))

    def text(self, name: str, markdown: str) -> None:
        self.calls.append(("text", name, markdown))

    def picture(self, name: str, step: int, png: bytes) -> None:
        self.calls.append(("picture", name, step, png))

    def artefact(self, path: Path) -> None:
        self.calls.append(("artefact", path))

    def flush(self) -> None:
        pass

    def close(self, outcome: Outcome) -> None:
        self.calls.append(("close", outcome))


def box(recorder: Recorder, held: Resumption) -> Outbox:
    return Outbox("wandb", recorder, RunInfo("p", "n", None, Path(), {}, 1.0), held)


@pytest.fixture
def held(tmp_path: Path) -> Resumption:
    return Resumption(tmp_path / "run.json", "n")


def test_all_is_delivered_in_order(held: Resumption) -> None:
    recorder = Recorder({})
    outbox = box(recorder, held)
    outbox.put(Point("distill", "rounds", 1, {"loss": 1.0}))
    outbox.put(Results("result/distill", {"params": 2.0}))
    outbox.put(Labels({"a": "b"}))
    outbox.put(Text("notes", "- x"))
    outbox.put(Picture("samples", 1, b"png"))
    outbox.put(Artefact(Path("report.html")))
    outbox.close("done")
    assert outbox.undelivered(WAIT_S) == 0
    assert [call[0] for call in recorder.calls] == [
        "point", "results", "labels", "text", "picture", "artefact", "close",
    ]  # fmt: skip
    assert held.run_id("wandb") == "r1"


@pytest.mark.parametrize("recorded", [{"distill": 2}, None], ids=["told", "remembered"])
def test_steps_from_before_a_stop_are_not_delivered_again(
    held: Resumption, recorded: Mapping[str, int] | None
) -> None:
    held.remember_run("wandb", "r1")
    if recorded is None:
        held.remember_step("wandb", "distill", 2)
    recorder = Recorder(recorded)
    outbox = box(recorder, held)
    for step in (1, 2, 3, 3):
        outbox.put(Point("distill", "rounds", step, {}))
    outbox.close("done")
    outbox.undelivered(WAIT_S)
    assert [call[3] for call in recorder.calls if call[0] == "point"] == [3]
    assert Resumption(held.path, "other").steps("wandb") == ({} if recorded else {"distill": 3})


@pytest.mark.parametrize("recorded", [{"distill": 2}, None], ids=["told", "remembered"])
def test_a_picture_from_before_a_kill_does_not_come_again(
    held: Resumption, recorded: Mapping[str, int] | None
) -> None:
    # No tracker tells which pictures it has; the process of the first is killed.
    for put_steps, steps in (([1], [1]), ([1, 2], [2])):
        recorder = Recorder(recorded)
        outbox = box(recorder, Resumption(held.path, "n"))
        for step in put_steps:
            outbox.put(Picture("distill/samples", step, b"png"))
        outbox.close("interrupted")
        outbox.undelivered(WAIT_S)
        assert [call[2] for call in recorder.calls if call[0] == "picture"] == steps


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@host/api",
        "http://user:with@secret@host/api",
        "http://host/api?write_token=secret",
        "http://host/api?X-Signature=secret&X-Expires=600",
    ],
)
def test_what_a_tracker_raises_ends_it_without_its_password(held: Resumption, url: str) -> None:
    recorder = Recorder({})
    outbox = box(recorder, held)
    outbox.put(Labels({"bad": f"no route to {url}"}))
    outbox.put(Labels({"never": ""}))
    outbox.close("done")
    assert outbox.undelivered(WAIT_S) == 0
    assert outbox.failure == "ConnectionError: no route to http://host/api"
    outbox.put(Labels({"never": ""}))
    assert recorder.calls == []


def test_a_slow_tracker_is_not_waited_for_and_what_is_lost_is_counted(
    held: Resumption, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "_MOST_WAITING", 2)
    recorder = Recorder({})
    recorder.may_open.clear()
    outbox = box(recorder, held)
    for _ in range(5):
        outbox.put(Labels({}))
    outbox.close("done")
    assert outbox.dropped == 4  # the end among them
    assert outbox.undelivered(0.0) == 3
    recorder.may_open.set()

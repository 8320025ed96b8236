"""A smoke run plays a few of everything, with the settings of the real one."""

from pathlib import Path

from pipeline.cache.digests import DigestCache
from pipeline.cache.store import Store
from pipeline.estimates import RateRecorder
from pipeline.events import Event
from pipeline.runner import Runner
from stages.catalog import declare
from tests.stages.tiny import settings


def test_teacher_and_student_play_a_few_steps_and_rounds_and_are_not_judged(
    tmp_path: Path,
) -> None:
    chosen = settings({"teacher": {"epochs": 1000}, "distill": {"rounds": 50_000}})
    store = Store(tmp_path / ".madpipe")
    store.prepare()
    events: list[Event] = []
    stages = declare(chosen, tmp_path)[:2]
    recorder = RateRecorder(stages, chosen)
    Runner(chosen, store, DigestCache(), [events.append, recorder], is_smoke=True).run(stages)
    last = {e.fields["unit"]: e.fields for e in events if e.kind == "progress"}
    assert last["steps"]["done"] == last["steps"]["total"] == 5
    assert last["images"]["done"] == 64
    assert 3 <= last["rounds"]["done"] == last["rounds"]["total"] <= 20
    units = recorder.rates["distill"].units | recorder.rates["teacher"].units
    assert units["rounds"].total == 50_000
    assert units["images"].total == 540
    assert units["steps"].total > 10_000

"""A smoke run plays a few of everything, with the settings of the real one."""

import shutil
from pathlib import Path

import pytest

from pipeline.cache.digests import DigestCache
from pipeline.cache.store import Store
from pipeline.cli.run import package_smoke
from pipeline.estimates import RateRecorder
from pipeline.events import Event
from pipeline.runner import Runner
from stages.catalog import declare
from tests.stages.tiny import TinyRun, settings


def test_the_engine_of_a_smoke_run_is_packaged_beside_it(
    tiny: TinyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = tiny.runner.store.home / "entries/build"
    shutil.copytree(entries, tmp_path / "entries/build")
    package_smoke(Store(tmp_path))
    assert {"manifest.json", "run.py"} <= {path.name for path in (tmp_path / "package").iterdir()}
    assert capsys.readouterr() == (
        "",
        f"the smoke run's engine is packaged in {tmp_path}/package\n",
    )


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

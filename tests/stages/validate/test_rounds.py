"""Sides take turns in this process, or in fresh ones, and both give the same kind of record."""

import numpy as np
import pytest

from pipeline.settings import Validate
from stages.engines import ort, timing
from stages.networks import factory
from stages.validate import machine_load, rounds
from tests.stages.tiny import TinyRun

OPTIONS = Validate(pairs=20, warmup_s=0.01, batch_sizes=(2,))
IMAGES = {2: np.zeros((2, 1, 8, 8), dtype=np.float32)}
WARM = timing.WarmUp(0.1, is_steady=True)


def _files(tiny: TinyRun) -> rounds.Files:
    return rounds.Files(
        teacher=tiny.path("teacher/weights"),
        teacher_code=None,
        backend="onnxruntime",
        device="cpu",
        engine=tiny.path("build/engine"),
        teacher_engine=tiny.path("build/engine"),
    )


def test_every_side_is_measured_at_every_batch_size(tiny: TinyRun) -> None:
    sides = _files(tiny).open(1)
    assert sides.names == ("teacher", "teacher_engine", "engine")
    told: list[tuple[int, int]] = []
    found = rounds.measure(
        sides, IMAGES, OPTIONS, device="cpu", rounds=20, tell=lambda *each: told.append(each)
    )
    times_RS, warm = found[2]
    assert times_RS.shape == (20, 3)
    assert (times_RS > 0).all()
    assert warm.seconds > 0
    assert told == [(1, 1)]


def test_without_the_teachers_engine_two_sides_are_measured(tiny: TinyRun) -> None:
    teacher, _ = factory.load(tiny.path("teacher/weights"), code=None, place="here")
    engine = ort.open(tiny.path("build/engine"), device="cpu", threads=1)
    sides = rounds.Sides(teacher=teacher, engine=engine, teacher_engine=None)
    found = rounds.measure(sides, IMAGES, OPTIONS, device="cpu", rounds=20)
    assert found[2][0].shape == (20, 2)


@pytest.mark.slow
def test_fresh_processes_share_out_the_pairs(tiny: TinyRun) -> None:
    options = Validate(pairs=40, warmup_s=0.01, batch_sizes=(2,), processes=2)
    told: list[tuple[int, int]] = []
    found = rounds.measure_afresh(_files(tiny), IMAGES, options, lambda *each: told.append(each))
    assert [each[2][0].shape for each in found] == [(20, 3), (20, 3)]
    assert told == [(1, 2), (2, 2)]


def test_records_of_several_processes_hold_all_their_samples() -> None:
    times_RS = np.stack([np.full(20, 6.0), np.full(20, 4.0), np.full(20, 2.0)], axis=1)
    found = [{2: (times_RS, WARM)}, {2: (1.1 * times_RS, WARM)}]
    watched = machine_load.Watch().record()
    names = rounds.names(has_teacher_engine=True)
    told, samples = rounds.record(found, names, watched, OPTIONS)
    (one,) = told["batches"]
    assert one["speedup"]["median"] == pytest.approx(3.0)
    assert one["speedup_same_backend"]["median"] == pytest.approx(2.0)
    assert (one["speedup"]["pairs"], one["speedup"]["processes"]) == (40, 2)
    assert one["warmup"] == {"seconds": 0.1, "is_steady": True}
    assert samples["2"]["engine_ms"] == pytest.approx([2.0] * 20 + [2.2] * 20)

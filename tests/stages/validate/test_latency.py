"""Networks are measured in turns, here or in fresh processes, and both give the same records."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.classifier import Classifier
from pipeline.errors import StageError
from pipeline.gates.build_records import EngineManifest
from pipeline.gates.measurements import Latency, LatencySamples, WarmUp
from pipeline.settings import Data, Validate
from stages import machine_load
from stages.data import images
from stages.engines import ort
from stages.engines.base import OnProgress, no_progress
from stages.engines.open_engine import open_engine, read_manifest
from stages.networks import factory
from stages.validate import latency
from stages.validate.latency import Engine, Teacher
from tests.stages.tiny import TinyRun, card

OPTIONS = Validate(pairs=20, warmup_s=0.01, batch_sizes=(2,))
MANIFEST = EngineManifest(
    backend="onnxruntime",
    backend_version="1",
    device="cpu",
    precision="int8",
    engine="engine.onnx",
    sha256="",
    onnx_sha256="",
)


def _teacher(tiny: TinyRun) -> Teacher:
    network, about = factory.load(tiny.path("teacher/weights"), code=None, place="here")
    return Teacher(network=network, card=about, code=None)


def test_records_of_several_processes_hold_all_their_samples() -> None:
    times_ms_RM = np.stack([np.full(20, 6.0), np.full(20, 4.0), np.full(20, 2.0)], axis=1)
    warmup = WarmUp(seconds=0.1, is_steady=True)
    times = [{2: (scale * times_ms_RM, warmup)} for scale in (1.0, 1.1)]
    names = ("teacher", "teacher_engine", "engine")
    conditions = machine_load.conditions(machine_load.read())
    (record,), samples = latency.batch_records(times, names, conditions, 0.01)
    assert record.speedup.median == pytest.approx(3.0)
    assert record.speedup_same_backend is not None
    assert record.speedup_same_backend.median == pytest.approx(2.0)
    assert (record.speedup.pairs, record.speedup.processes) == (40, 2)
    assert record.warmup == warmup
    assert samples["2"].engine_ms == pytest.approx([2.0] * 20 + [2.2] * 20)


def _measure(
    tiny: TinyRun, options: Validate, on_progress: OnProgress = no_progress
) -> tuple[Latency, LatencySamples]:
    path = tiny.path("build/engine")
    manifest = read_manifest(tiny.path("build/manifest"), path)
    engine = Engine(manifest, path, open_engine(manifest, path, threads=1))
    held_out = images.load(Data(), None).held_out
    return latency.measure(
        _teacher(tiny), engine, held_out, options, opset=20, on_progress=on_progress
    )


def test_every_network_is_measured_and_latencies_carry_their_conditions(tiny: TinyRun) -> None:
    progress: list[tuple[int, int, str]] = []
    record, samples = _measure(tiny, OPTIONS, lambda *values: progress.append(values))
    assert (record.threads, record.device, record.processes) == (1, "cpu", 1)
    assert record.conditions.seconds > 0
    assert record.batches[0].warmup.seconds > 0
    assert samples.unit == "ms"
    batch = samples.batches["2"]
    for times_ms in (batch.teacher_ms, batch.teacher_engine_ms, batch.engine_ms):
        assert times_ms is not None
        assert len(times_ms) == 20
        assert min(times_ms) > 0
    # On a slow machine there are more in between.
    assert (progress[0], progress[-1]) == ((0, 20, "pairs"), (20, 20, "pairs"))
    assert progress == sorted(progress)


def test_a_teacher_that_makes_no_engine_leaves_it_out_with_the_reason(
    tiny: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StageError("validate", "no luck (x)", "none needed")

    monkeypatch.setattr(latency, "build_teacher_engine", refuse)
    record, samples = _measure(tiny, OPTIONS)
    assert record.teacher_engine_absent == "validate: no luck (x); none needed"
    assert record.batches[0].speedup_same_backend is None
    assert samples.batches["2"].teacher_engine_ms is None


def test_the_teachers_engine_gives_the_teachers_logits(tiny: TinyRun, tmp_path: Path) -> None:
    teacher = _teacher(tiny)
    path = latency.build_teacher_engine(teacher, MANIFEST, tmp_path, opset=20)
    x_BCHW = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        torch_BK = teacher.network(x_BCHW).numpy()
    engine_BK = ort.open(path, device="cpu", threads=1).infer(x_BCHW.numpy())
    assert np.abs(engine_BK - torch_BK).max() < 1e-3


class _Unexportable(nn.Module):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        if float(x_BCHW.sum()) > 0:
            return x_BCHW
        return -x_BCHW


def test_a_teacher_that_cannot_be_exported_is_refused_with_the_reason(tmp_path: Path) -> None:
    network = Classifier(_Unexportable(), (0.5,), (0.5,))
    teacher = Teacher(network=network, card=card(), code=None)
    with pytest.raises(StageError, match="the teacher makes no engine of onnxruntime"):
        latency.build_teacher_engine(teacher, MANIFEST, tmp_path, opset=20)

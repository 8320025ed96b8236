"""The validate stage: figures worked out by hand, and engines that are not what they claim."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch

from pipeline import machine
from pipeline.errors import StageError, UsageError
from pipeline.gates import measurement_files
from pipeline.gates.measurements import SCHEMA, Measurements, Samples
from pipeline.settings import Build, Data, Validate
from stages import machine_load, standalone
from stages.data import images
from stages.engines.base import Session
from stages.engines.open_engine import open_engine, read_manifest
from stages.networks import weights
from stages.networks.predict import predict
from stages.standalone import validate_engine
from stages.validate import opened as opened_engine
from stages.validate import stage as validate_stage
from stages.validate.images import check_images
from tests.stages.tiny import TinyRun, card, run_stages, settings, weights_file

SHORT = Validate(pairs=20, warmup_s=0.01, batch_sizes=(2,), teacher_engine=False)


def _stored(tiny: TinyRun) -> tuple[Measurements, Samples]:
    return (
        measurement_files.read(tiny.path("validate/measurements"), Measurements),
        measurement_files.read(tiny.path("validate/samples"), Samples),
    )


def test_the_stage_measures_all_four_on_the_same_images(tiny: TinyRun) -> None:
    measurements, _ = _stored(tiny)
    assert list(measurements.accuracy) == ["teacher", "student", "onnx", "engine"]
    assert {accuracy.n for accuracy in measurements.accuracy.values()} == {540}
    assert measurements.accuracy["teacher"].top1 == tiny.metrics("teacher")["top1"]
    engine = tiny.path("build/engine")
    assert measurements.engine_bytes == engine.stat().st_size
    assert measurements.engine == read_manifest(tiny.path("build/manifest"), engine)
    memory = measurements.memory
    assert memory.engine_resident_bytes is None or memory.engine_resident_bytes >= 0
    assert memory.process_peak_bytes is None or memory.process_peak_bytes > engine.stat().st_size


def test_an_engine_that_took_no_more_memory_is_not_one_of_no_bytes(
    tiny: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tiny.path("build/engine")
    manifest = read_manifest(tiny.path("build/manifest"), engine)
    held_out = images.load(tiny.settings.data, None).held_out
    options = msgspec.structs.replace(SHORT, first_runs=0)
    for grown_bytes, expected in ((0, None), (-4096, None), (4096, 4096)):
        held_bytes = iter([10**8, 10**8 + grown_bytes])
        monkeypatch.setattr(machine_load, "resident_bytes", held_bytes.__next__)
        opened = opened_engine.opened(
            manifest, engine, held_out, options, cache=None, on_note=lambda _: None
        )
        assert opened.resident_bytes == expected


def test_stored_documents_have_the_fields_of_the_contract(tiny: TinyRun) -> None:
    measurements = json.loads(tiny.path("validate/measurements").read_bytes())
    samples = json.loads(tiny.path("validate/samples").read_bytes())
    assert (measurements["schema"], samples["schema"]) == (SCHEMA, SCHEMA)
    assert {"accuracy", "paired", "agreement", "latency", "engine", "memory"} <= set(measurements)
    assert not {"engine_absent", "graph_absent"} & set(measurements)
    assert set(samples) == {"schema", "set", "said", "labels", "latency"}
    assert set(samples["set"]) == {"kind", "n", "id"}


def test_latency_is_measured_at_each_batch_size_with_its_raw_samples(tiny: TinyRun) -> None:
    measurements, samples = _stored(tiny)
    latency = measurements.latency
    assert latency is not None
    assert samples.latency is not None
    assert (latency.threads, latency.device) == (1, measurements.engine.device)
    assert [batch.batch for batch in latency.batches] == [1, 32]
    for batch in latency.batches:
        raw = samples.latency.batches[str(batch.batch)]
        teacher_ms, engine_ms = np.array(raw.teacher_ms), np.array(raw.engine_ms)
        teacher_engine_ms = np.array(raw.teacher_engine_ms)
        assert len(teacher_ms) == len(teacher_engine_ms) == len(engine_ms) == 20
        assert batch.teacher.p50_ms == pytest.approx(np.median(teacher_ms))
        assert batch.engine.p50_ms == pytest.approx(np.median(engine_ms))
        assert batch.speedup.median == pytest.approx(np.median(teacher_ms / engine_ms))
        assert batch.teacher.p99_ms is None
        assert batch.speedup_same_backend is not None
        same_backend = np.median(teacher_engine_ms / engine_ms)
        assert batch.speedup_same_backend.median == pytest.approx(same_backend)
        assert batch.warmup.seconds >= 0.01


def test_every_networks_predictions_are_kept_so_that_runs_can_be_compared(tiny: TinyRun) -> None:
    measurements, samples = _stored(tiny)
    labels = np.array(samples.labels)
    for name, accuracy in measurements.accuracy.items():
        assert (np.array(samples.predictions[name]) == labels).sum() == accuracy.hits
    assert samples.dataset.id == measurements.dataset.id


def test_the_number_of_threads_is_as_before_afterwards(tiny: TinyRun, tmp_path: Path) -> None:
    folder = _engine(tiny, tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        standalone.validate(folder, tiny.path("teacher/weights"), "digits", SHORT)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def _engine(tiny: TinyRun, folder: Path) -> Path:
    """Copy the tiny engine and its manifest to a folder that may be changed."""
    for name in ("build/engine", "build/manifest"):
        source = tiny.path(name)
        (folder / source.name).write_bytes(source.read_bytes())
    return folder


def test_an_engine_is_measured_against_a_teachers_file_alone(tiny: TinyRun, tmp_path: Path) -> None:
    folder = _engine(tiny, tmp_path)
    measurements = standalone.validate(folder, tiny.path("teacher/weights"), "digits", SHORT)
    of_stage, _ = _stored(tiny)
    for name in ("teacher", "engine"):
        assert measurements.accuracy[name] == of_stage.accuracy[name]
    assert measurements.latency is not None
    assert [batch.batch for batch in measurements.latency.batches] == [2]


@pytest.mark.parametrize("where", [0, 1000, -1])
def test_an_engine_with_one_flipped_byte_is_refused(
    tiny: TinyRun, tmp_path: Path, where: int
) -> None:
    folder = _engine(tiny, tmp_path)
    engine = folder / tiny.path("build/engine").name
    content = bytearray(engine.read_bytes())
    content[where] ^= 1
    engine.write_bytes(content)
    with pytest.raises(StageError, match=r"is not the one that its manifest describes .*, not "):
        read_manifest(folder / "manifest.json", engine)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"backend": 3}'])
def test_a_broken_manifest_is_refused(tiny: TinyRun, tmp_path: Path, content: bytes) -> None:
    folder = _engine(tiny, tmp_path)
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(StageError, match="build it again"):
        read_manifest(folder / "manifest.json", folder / "engine.onnx")
    with pytest.raises(StageError, match="has no sound manifest"):
        standalone.validate(folder, tiny.path("teacher/weights"), "digits", SHORT)


def test_an_engine_that_is_missing_or_of_an_unknown_backend_is_refused(
    tiny: TinyRun, tmp_path: Path
) -> None:
    folder = _engine(tiny, tmp_path)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"backend": "abacus"}))
    with pytest.raises(StageError, match=r"no known backend \(abacus\)"):
        read_manifest(folder / "manifest.json", folder / manifest["engine"])
    (folder / manifest["engine"]).unlink()
    with pytest.raises(StageError, match="cannot be read"):
        read_manifest(folder / "manifest.json", folder / manifest["engine"])


def test_a_teacher_of_other_classes_is_refused_by_the_stage(tiny: TinyRun, tmp_path: Path) -> None:
    chosen = settings()
    tiny_run = run_stages(chosen, tmp_path, count=0)
    teacher = tmp_path / "teacher.safetensors"
    tensors = safetensors.torch.load_file(tiny.path("teacher/weights"))
    letters = card(classes=tuple("abcdefghij"))
    from stages.networks import card as cards

    teacher.write_bytes(safetensors.torch.save(tensors, cards.metadata(letters)))
    inputs = {
        name: teacher if name == "teacher/weights" else tiny.path(name)
        for name in tiny_run.stages[4].inputs
    }
    from tests.stages.tiny import context

    ctx, _ = context(tiny_run.stages[4], chosen, inputs, tmp_path)
    with pytest.raises(
        StageError, match=r"the teacher's classes are not the data's \(class 0 is a and 0\)"
    ):
        validate_stage.run(ctx)


@pytest.mark.parametrize(
    ("theirs", "difference"),
    [(("a", "b", "c", "e"), "class 3 is d and e"), (("a", "b", "c"), "4 and 3")],
)
def test_a_difference_of_classes_is_named_where_it_is(
    theirs: tuple[str, ...], difference: str
) -> None:
    labels_N = torch.zeros(2, dtype=torch.int64)
    labelled = images.Images(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), labels_N, theirs)
    with pytest.raises(StageError, match=rf"are not the data's \({difference}\)"):
        check_images(labelled, card(classes=tuple("abcd")))


def test_a_source_that_does_not_exist_is_refused_with_the_nearest(
    tiny: TinyRun, tmp_path: Path
) -> None:
    folder = _engine(tiny, tmp_path)
    for spec, message in (("digit", "digits"), ("cifar10", "SOURCE:FOLDER")):
        with pytest.raises(UsageError, match=message):
            standalone.validate(folder, tiny.path("teacher/weights"), spec, SHORT)


def test_a_folder_without_a_manifest_is_refused(tiny: TinyRun, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"--engine: has no manifest\.json"):
        standalone.validate(tmp_path, tiny.path("teacher/weights"), "digits", SHORT)


def test_a_teacher_for_images_of_another_size_is_refused(tiny: TinyRun, tmp_path: Path) -> None:
    folder = _engine(tiny, tmp_path)
    teacher = weights_file(tmp_path / "teacher.safetensors", image_size_px=16)
    with pytest.raises(StageError, match=r"images are 1x8x8, the teacher takes 1x16x16"):
        standalone.validate(folder, teacher, "digits", SHORT)


def test_a_teacher_without_a_card_is_recognised(tiny: TinyRun, tmp_path: Path) -> None:
    folder = _engine(tiny, tmp_path)
    torch.save(weights.read(tiny.path("teacher/weights"), "here"), tmp_path / "teacher.pth")
    bare = standalone.validate(folder, tmp_path / "teacher.pth", "digits", SHORT)
    carded = standalone.validate(folder, tiny.path("teacher/weights"), "digits", SHORT)
    assert bare.accuracy["teacher"] == carded.accuracy["teacher"]


@pytest.mark.slow
def test_fresh_processes_share_out_the_pairs_and_load_a_teacher_without_a_card(
    tiny: TinyRun, tmp_path: Path
) -> None:
    folder = _engine(tiny, tmp_path)
    torch.save(weights.read(tiny.path("teacher/weights"), "here"), tmp_path / "teacher.pth")
    options = msgspec.structs.replace(SHORT, pairs=40, processes=2)
    measurements = standalone.validate(folder, tmp_path / "teacher.pth", "digits", options)
    assert measurements.latency is not None
    assert measurements.latency.processes == 2
    speedup = measurements.latency.batches[0].speedup
    assert (speedup.processes, speedup.pairs) == (2, 40)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("raise RuntimeError('not here')", r"^teacher: .*not here .*net\.py:5"),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            r"^validate: a process that measures latency was killed .*\(1 of 2\); .*memory",
        ),
    ],
)
def test_a_fresh_process_that_fails_or_is_killed_is_reported_whole(
    tiny: TinyRun, tmp_path: Path, action: str, message: str
) -> None:
    """The teacher's own code, which is read there too, fails there alone."""
    folder = _engine(tiny, tmp_path)
    code = tmp_path / "net.py"
    code.write_text(
        "import multiprocessing, os, signal\n"
        "from models.resnet import CifarResNet\n"
        "def make():\n"
        "    if multiprocessing.parent_process() is not None:\n"
        f"        {action}\n"
        "    return CifarResNet(depth=8, width=16, in_channels=1, num_classes=10)\n"
    )
    teacher = weights_file(tmp_path / "teacher.safetensors", arch=f"{code}:make")
    options = msgspec.structs.replace(SHORT, processes=2)
    with pytest.raises(StageError, match=message) as error:
        standalone.validate(folder, teacher, "digits", options)
    assert error.value.remedy


def test_a_bank_gives_agreement_and_is_never_called_accuracy(tiny: TinyRun, tmp_path: Path) -> None:
    folder = _engine(tiny, tmp_path)
    spec = f"bank:{tiny.path('distill/bank')}"
    measurements = standalone.validate(folder, tiny.path("teacher/weights"), spec, SHORT)
    assert (measurements.accuracy, measurements.agreement, measurements.paired) == ({}, {}, {})
    assert measurements.dataset.kind == "bank"
    assert measurements.bank_agreement["engine"].n == 32
    assert 0 <= measurements.bank_agreement["engine"].value <= 1


def test_a_bank_of_other_images_is_refused(tiny: TinyRun, tmp_path: Path) -> None:
    folder = _engine(tiny, tmp_path)
    np.savez(tmp_path / "other.npz", x=np.zeros((2, 9, 9, 3), dtype=np.uint8))
    spec = f"bank:{tmp_path / 'other.npz'}"
    with pytest.raises(StageError, match=r"images are 3x9x9, the teacher takes 1x8x8"):
        standalone.validate(folder, tiny.path("teacher/weights"), spec, SHORT)


def test_the_digits_need_no_folder() -> None:
    assert validate_engine._source("digits") == Data()


@pytest.mark.skipif(
    not machine.has_module("tensorrt_rtx") or bool(machine.gpus()),
    reason="TensorRT-RTX is not installed, or a GPU is here",
)
@pytest.mark.parametrize(
    ("precision", "runs"), [("fp32", True), ("fp16", True), ("int8", True), ("bf16", False)]
)
def test_an_engine_for_other_gpus_is_built_and_measured_as_far_as_it_can_be(
    tiny: TinyRun, tmp_path: Path, precision: str, *, runs: bool
) -> None:
    from pipeline.gates.judge import judge
    from pipeline.settings import DEFAULT_GATES, Gate
    from stages import catalog
    from stages.build import stage as build_stage
    from tests.stages.tiny import context

    options = {"backend": "tensorrt-rtx", "precision": precision, "targets": ["sm89", "sm120"]}
    chosen = settings({"build": options})
    stages = {stage.name: stage for stage in catalog.declare(chosen, tmp_path)}
    onnx = {name: tiny.path(name) for name in ("export/onnx", "distill/bank")}
    ctx, emitted = context(stages["build"], chosen, onnx, tmp_path / "build")
    build_stage.run(ctx)
    assert ctx.metrics["bytes"] > 100_000
    assert max(fields["done"] for kind, fields in emitted if kind == "progress") > 50

    built = {f"build/{name}": ctx.output(name) for name in ("engine", "manifest", "graph")}
    others = set(stages["validate"].inputs) - set(built)
    inputs = {name: tiny.path(name) for name in others} | built
    ctx, emitted = context(stages["validate"], chosen, inputs, tmp_path / "validate")
    validate_stage.run(ctx)
    measurements = measurement_files.read(ctx.output("measurements"), Measurements)
    assert list(measurements.accuracy) == ["teacher", "student", "onnx"] + ["graph"] * runs
    assert measurements.latency is None
    assert measurements.engine.targets == ("sm89", "sm120")
    assert (measurements.graph_absent is None) == runs
    assert ctx.metrics["engine"] == "built, not run"
    *notes, note = [fields["text"] for kind, fields in emitted if kind == "note"]
    assert notes == ([] if runs else [measurements.graph_absent])
    assert runs or "cannot run the engine's graph" in notes[0]
    assert "built for sm89, sm120 and not run" in note
    assert f"--engine {inputs['build/engine'].parent} --teacher" in note
    # A broken graph loses far more; how much int8 loses differs a little from machine to machine.
    gates = {**DEFAULT_GATES, "graph_top1_drop": Gate(max=0.1)}
    verdicts = {verdict.name: verdict for verdict in judge(measurements, gates)}
    assert verdicts["student_top1_drop"].verdict != "skipped"
    assert verdicts["graph_top1_drop"].verdict == ("pass" if runs else "skipped")
    for name in ("engine_top1_drop", "speedup"):
        assert verdicts[name].verdict == "skipped"
        assert "not run, since this machine has no NVIDIA GPU" in verdicts[name].reason


def test_accuracy_is_measured_with_all_cores_and_latency_with_those_of_the_settings(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cpu_count", lambda: 3)
    opened: list[int] = []
    used: list[int] = []

    def opening(*files: Any, threads: int, cache: Path | None = None) -> Session:
        opened.append(threads)
        return open_engine(*files, threads=threads, cache=cache)

    def predicting(infer: Any, images: Any, **options: Any) -> Any:
        used.append(infer.__self__.session.get_session_options().intra_op_num_threads)
        return predict(infer, images, **options)

    for module in (validate_stage, opened_engine):
        monkeypatch.setattr(module, "open_engine", opening)
    monkeypatch.setattr(validate_stage, "predict", predicting)
    standalone.build(
        tiny.path("export/onnx"),
        tmp_path,
        Build(backend="onnxruntime", device="cpu", precision="fp32"),
    )
    measured = standalone.validate(tmp_path, tiny.path("teacher/weights"), "digits", SHORT)
    assert measured.latency
    assert (measured.latency.threads, opened, used) == (1, [1, 3], [3])


def test_references_in_torch_run_on_the_gpu_without_tf32_and_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places: list[torch.device | str] = []

    class Network(torch.nn.Module):
        def to(self, place: torch.device | str) -> "Network":  # type: ignore[override]
            places.append(place)
            return self

    def predicting(network: Any, images: Any, device: torch.device, **options: Any) -> torch.Tensor:
        del network, images, options
        assert not torch.backends.cudnn.allow_tf32
        return torch.zeros(1, len(device.type))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(validate_stage, "predict_torch", predicting)
    logits_NK = validate_stage.torch_logits(Network(), None)  # type: ignore[arg-type]
    assert logits_NK.shape == (1, len("cuda"))
    assert places == [torch.device("cuda"), "cpu"]

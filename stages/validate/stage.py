"""The validate stage: accuracy and latency, measured and stored; gates decide on them later.

Accuracy is of teacher, student, ONNX file and engine on the same held-out images, so that each
loss belongs to a step; without labelled images it is agreement with the teacher on the bank. An
engine for GPUs that are not here is represented by the graph that it was built from.
Latency is of teacher (torch), the teacher as an engine, and the engine, interleaved.
"""

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.gates import measurements as records
from pipeline.gates.build_records import EngineManifest
from pipeline.gates.measurements import DatasetPart, Measurements, Memory, Samples
from pipeline.settings import Validate
from pipeline.stage import Context, StageError
from stages.data import images as datasets
from stages.data.images import Images
from stages.engines import compatibility
from stages.engines.base import BACKENDS, OnProgress, no_progress
from stages.engines.open_engine import open_engine, read_manifest
from stages.networks import factory
from stages.validate import accuracy, latency, machine_load
from stages.validate.images import bank_images, check_images, identity
from stages.validate.latency import Engine, Teacher
from stages.validate.logits import engine_logits, graph_logits, onnx_logits, torch_logits

DatasetKind = Literal["held-out", "bank"]
Logits = dict[str, NDArray[np.float32]]


def run(ctx: Context) -> None:
    """Leave the measurements and the raw samples."""
    options = ctx.settings.validate
    teacher_code = ctx.external("teacher_code")
    network, card = factory.load(ctx.input("teacher/weights"), code=teacher_code, place="teacher")
    student, _ = factory.load(
        ctx.input("distill/student"), code=ctx.external("student_code"), place="student"
    )
    kind: DatasetKind = "bank" if options.images == "bank" else "held-out"
    if kind == "bank":
        images = bank_images(ctx.input("distill/bank"), card)
    else:
        images = datasets.load(ctx.settings.data, ctx.external("data")).held_out
        check_images(images, card)
    logits = {
        "teacher": torch_logits(network, images),
        "student": torch_logits(student, images),
        "onnx": onnx_logits(ctx.input("export/onnx"), images),
    }
    engine = ctx.input("build/engine")
    manifest = read_manifest(ctx.input("build/manifest"), engine)
    graph_absent = None
    if manifest.targets:
        graph = ctx.input("build/graph")
        try:
            logits["graph"] = graph_logits(
                graph, manifest.precision, images, threads=options.threads
            )
        except StageError as error:
            graph_absent = str(error)
            ctx.note(graph_absent)
    measurements, samples = measure(
        Teacher(network=network, card=card, code=teacher_code),
        manifest,
        engine,
        images,
        options,
        logits=logits,
        kind=kind,
        opset=ctx.settings.export.opset or BACKENDS[manifest.backend].opset,
        graph_absent=graph_absent,
        on_progress=ctx.progress,
    )
    records.write(ctx.output("measurements"), measurements)
    records.write(ctx.output("samples"), samples)
    _record_metrics(ctx, measurements)


def measure(
    teacher: Teacher,
    manifest: EngineManifest,
    path: Path,
    images: Images,
    options: Validate,
    *,
    logits: Logits,
    kind: DatasetKind,
    opset: int,
    graph_absent: str | None = None,
    on_progress: OnProgress = no_progress,
) -> tuple[Measurements, Samples]:
    """Measure an engine, whose file is `path`, against its teacher, or say why it cannot run here.

    `logits`, of shape NK, are those of the teacher and of all that lies between it and the engine
    on `images`, which have labels where `kind` is "held-out". `opset` is the ONNX operator set of
    the teacher's engine. `graph_absent` says why there are no logits of the graph that stands in
    for an engine that was built for another machine.

    Raises:
        StageError: The engine is damaged or cannot run, or outputs are not finite.
        UnavailableError: Its backend or device is not available here.
    """
    engine, latencies, latency_samples = None, None, None
    absent = compatibility.why_not_run(manifest)
    if absent is None:
        engine = _load(manifest, path, threads=options.threads)
        logits = logits | {"engine": engine_logits(engine.session, images)}
    y_N = images.y_N.numpy() if kind == "held-out" else None
    comparison = accuracy.compare(logits, y_N, images.classes)
    if engine is not None:
        latencies, latency_samples = latency.measure(
            teacher, engine, images, options, opset=opset, on_progress=on_progress
        )
    dataset = DatasetPart(kind=kind, n=len(images), id=identity(images))
    measurements = Measurements(
        dataset=msgspec.structs.replace(dataset, classes=tuple(images.classes)),
        **comparison._asdict(),
        latency=latencies,
        engine=manifest,
        engine_bytes=path.stat().st_size,
        memory=Memory(
            engine_resident_bytes=engine.resident_bytes if engine else None,
            process_peak_bytes=machine_load.peak_bytes(),
        ),
        engine_absent=absent,
        graph_absent=graph_absent,
    )
    samples = Samples(
        dataset=dataset,
        predictions={
            name: tuple(logits_NK.argmax(axis=1).tolist()) for name, logits_NK in logits.items()
        },
        labels=None if y_N is None else tuple(y_N.tolist()),
        latency=latency_samples,
    )
    return measurements, samples


def _load(manifest: EngineManifest, path: Path, *, threads: int) -> Engine:
    """Load an engine and note by how much that made this process grow."""
    before_bytes = machine_load.resident_bytes()
    session = open_engine(manifest, path, threads=threads)
    grown_bytes = max(0, machine_load.resident_bytes() - before_bytes)
    return Engine(manifest=manifest, path=path, session=session, resident_bytes=grown_bytes)


def _record_metrics(ctx: Context, measurements: Measurements) -> None:
    """Show the figures that a user looks for first, and what makes them doubtful."""
    for name, accuracy_record in measurements.accuracy.items():
        ctx.metric(f"{name}_top1", accuracy_record.top1)
    for name, agreement in measurements.bank_agreement.items():
        ctx.metric(f"{name}_bank_agreement", agreement.value)
    if measurements.latency is None:
        ctx.metric("engine", "built, not run")
        ctx.note(
            f"{measurements.engine_absent}; where such a GPU is: madpipe validate --engine "
            f"{ctx.input('build/engine').parent} --teacher {ctx.input('teacher/weights')}"
        )
        return
    batches = measurements.latency.batches
    for name in ("speedup", "speedup_same_backend"):
        if ratio := getattr(batches[0], name):
            ctx.metric(name, ratio.median)
    if why := measurements.latency.teacher_engine_absent:
        ctx.note(why)
    if unsteady := [str(latency.batch) for latency in batches if not latency.warmup.is_steady]:
        ctx.note(f"warming up ended before latencies were steady at batch {', '.join(unsteady)}")
    if causes := {cause for latency in batches for cause in latency.engine.causes}:
        ctx.note(f"latencies were noisy: {'; '.join(sorted(causes))}")

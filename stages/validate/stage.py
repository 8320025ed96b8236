"""The validate stage: accuracy and latency, measured and stored; gates decide on them later.

Accuracy is of teacher, student, ONNX file and engine on the same held-out images, so that each
loss belongs to a step; without labelled images it is agreement with the teacher on the bank. An
engine for GPUs that are not here is represented by the graph that it was built from.
Latency is of teacher (torch), the teacher as an engine, and the engine, interleaved.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier import Classifier
from pipeline import machine
from pipeline.errors import first_line
from pipeline.gates import measurement_files, real_images
from pipeline.gates import measurements as records
from pipeline.gates.build_records import EngineManifest
from pipeline.gates.real_images import ImageList
from pipeline.settings import Validate
from pipeline.stage import Context, OnNote, StageError, no_note
from stages.data import images as datasets
from stages.data import overlap
from stages.data.images import Images
from stages.engines import compatibility
from stages.engines.base import BACKENDS, OnProgress, no_progress
from stages.engines.open_engine import open_engine, read_manifest
from stages.engines.ort import OrtSession
from stages.networks import factory, program_kind
from stages.networks.card import Card
from stages.networks.predict import OnImages, predict, predict_torch
from stages.networks.predict import no_progress as no_image_progress
from stages.training import device as devices
from stages.validate import accuracy, agreement, latency, pictures
from stages.validate.agreement import HeldBack
from stages.validate.images import bank_images, check_images, identity
from stages.validate.latency import Engine, Teacher
from stages.validate.opened import Opened, opened

_ONNX_TEACHER = (
    "the teacher is an ONNX file, whose operators torch runs one by one where speedup is measured: "
    "speedup_same_backend compares it as an engine"
)
_SMOKE_PAIRS = 20
_SMOKE_IMAGES = 64
_UNOPTIMISED = {"fp8", "int4"}
"""ONNX Runtime runs such graphs as they are, but its optimisations break them, or round the
activations of linear layers as well."""


def run(ctx: Context) -> None:
    """Leave the measurements and the raw samples."""
    options = ctx.settings.validate
    pairs = ctx.play(options.pairs, "pairs", few=_SMOKE_PAIRS)
    options = msgspec.structs.replace(options, pairs=pairs)
    teacher_code = ctx.external("teacher_code")
    network, card = factory.load(ctx.input("teacher/weights"), code=teacher_code, place="teacher")
    student, _ = factory.load(
        ctx.input("distill/student"), code=ctx.external("student_code"), place="student"
    )
    images = _images(ctx, card)
    used = _used_images(ctx)
    if used is not None and options.images != "bank":
        overlap.check_pixels(images, used)
    logits = _between_logits(ctx, student, images)
    engine = ctx.input("build/engine")
    manifest = read_manifest(ctx.input("build/manifest"), engine)
    graph_absent = None
    if manifest.targets:
        try:
            logits["graph"] = graph_logits(
                ctx.input("build/graph"),
                manifest.precision,
                images,
                threads=machine.cpu_count(),
                on_progress=counted(ctx.progress, "graph"),
            )
        except StageError as error:
            graph_absent = str(error)
            ctx.note(graph_absent)
    all_logits: dict[str, NDArray[np.float32]] = {}
    measurements, samples = measure(
        Teacher(network=network, card=card, code=teacher_code),
        manifest,
        engine,
        images,
        options,
        logits=logits,
        kind="bank" if options.images == "bank" else "held-out",
        opset=ctx.settings.export.opset or BACKENDS[manifest.backend].opset,
        graph_absent=graph_absent,
        held_back=_held_back(ctx, card, student) if used is not None else None,
        on_logits=all_logits.update,
        cache=ctx.cache,
        on_progress=ctx.progress,
        on_note=ctx.note,
    )
    measurement_files.write(ctx.output("measurements"), measurements)
    measurement_files.write(ctx.output("samples"), samples)
    if ctx.has_output("pictures"):
        pictures.leave(ctx, all_logits, images, {"teacher": network, "student": student})
    _record_metrics(ctx, measurements, card)


def _images(ctx: Context, card: Card) -> Images:
    """Return the images of the settings, which are those that the teacher is for."""
    if ctx.settings.validate.images == "bank":
        return bank_images(ctx.input("distill/bank"), card, ctx.note)
    images = datasets.load(
        ctx.settings.data,
        ctx.external("data"),
        classes_file=ctx.external("classes"),
        known_classes=card.classes,
        choose_count=lambda count: ctx.play(count, "images", few=_SMOKE_IMAGES),
        on_progress=lambda done, total: ctx.progress(done, total, "images (read)"),
    ).held_out
    check_images(images, card)
    return images


def _used_images(ctx: Context) -> ImageList | None:
    """Return the unlabelled images that the distillation used, None where there are none."""
    name = "distill/images"
    return real_images.read(ctx.input(name)) if ctx.has_input(name) else None


def _held_back(ctx: Context, card: Card, student: Classifier) -> HeldBack:
    """Return the unlabelled images that were held back, with the logits of student and ONNX."""
    images = bank_images(ctx.input("distill/held_back"), card)
    return HeldBack(images, _between_logits(ctx, student, images))


def _between_logits(
    ctx: Context, student: Classifier, images: Images
) -> dict[str, NDArray[np.float32]]:
    """Return the logits NK of student and ONNX file."""
    session = OrtSession(ctx.input("export/onnx"), threads=machine.cpu_count())
    return {
        "student": torch_logits(student, images, counted(ctx.progress, "student")),
        "onnx": predict(session.infer, images, on_progress=counted(ctx.progress, "onnx")),
    }


def counted(on_progress: OnProgress, name: str) -> OnImages:
    """Return what reports the images that a network has seen."""
    return lambda done, total: on_progress(done, total, f"images ({name})")


def torch_logits(
    network: Classifier, images: Images, on_progress: OnImages = no_image_progress
) -> NDArray[np.float32]:
    """Return the logits NK of a network in true fp32, on a GPU where torch sees one.

    The network is left on the CPU. Engines are compared with these, so TF32 is kept out.

    Raises:
        StageError: The memory is too small.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    remedy = "free some (nvidia-smi shows who holds it), or hide the GPU by CUDA_VISIBLE_DEVICES="
    with (
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        devices.enough_memory("validate", remedy),
    ):
        logits_NK = predict_torch(network.to(device), images, device, on_progress=on_progress)
    network.to("cpu")
    return logits_NK.numpy()


def graph_logits(
    graph: Path,
    precision: str,
    images: Images,
    *,
    threads: int,
    on_progress: OnImages = no_image_progress,
) -> NDArray[np.float32]:
    """Return the logits NK of the graph of an engine for GPUs that this machine lacks.

    A strongly typed engine computes what its graph says, and ONNX Runtime on the CPU computes the
    same but for rounding: that shows what the precision costs, and nothing of latency.
    StageError where ONNX Runtime has no kernels on the CPU for its precision.
    """
    try:
        session = OrtSession(graph, threads=threads, is_optimised=precision not in _UNOPTIMISED)
    except StageError as error:
        raise StageError(
            "validate",
            f"ONNX Runtime cannot run the engine's graph on the CPU "
            f"({precision}: {first_line(error.__cause__ or error)})",
            "validate it where the GPU is",
        ) from error
    return predict(session.infer, images, on_progress=on_progress)


def _engine_logits(
    engine: Engine, threads: int, on_progress: OnProgress, images: Images
) -> NDArray[np.float32]:
    """Return the logits NK of an engine; on the CPU of all cores, whatever its session has."""
    session = engine.session
    if engine.manifest.device == "cpu" and threads < machine.cpu_count():
        session = open_engine(engine.manifest, engine.path, threads=machine.cpu_count())
    return predict(session.infer, images, on_progress=counted(on_progress, "engine"))


def measure(
    teacher: Teacher,
    manifest: EngineManifest,
    path: Path,
    images: Images,
    options: Validate,
    *,
    logits: accuracy.Logits,
    kind: Literal["held-out", "bank"],
    opset: int,
    graph_absent: str | None = None,
    held_back: HeldBack | None = None,
    cache: Path | None = None,
    on_logits: Callable[[accuracy.Logits], None] = lambda _: None,
    on_progress: OnProgress = no_progress,
    on_note: OnNote = no_note,
) -> tuple[records.Measurements, records.Samples]:
    """Measure an engine, whose file is `path`, against its teacher, or say why it cannot run here.

    `logits`, of shape NK, are those of all that lies between the two on `images`, which have labels
    where `kind` is "held-out". `opset` is the ONNX operator set of the teacher's engine.
    `graph_absent` says why there are no logits of the graph of an engine for another machine.
    `held_back` are unlabelled images on which the agreement with the teacher is measured as well.
    `cache` is as in `Backend.open`. `on_logits` gets all logits before latencies are measured,
    which takes longer, and `on_note` what is to be known of how the engine was opened.

    Raises:
        StageError: The engine is damaged or cannot run, or outputs are not finite.
        UnavailableError: Its backend or device is not available here.
    """
    infer = partial(torch_logits, teacher.network, on_progress=counted(on_progress, "teacher"))
    networks: dict[str, agreement.Infer] = {"teacher": infer}
    here, latencies, latency_samples = None, None, None
    absent = compatibility.why_not_run(manifest)
    if absent is None:
        here = opened(manifest, path, images, options, cache=cache, on_note=on_note)
        networks["engine"] = partial(_engine_logits, here.engine, options.threads, on_progress)
    logits = agreement.all_logits(networks, images, logits)
    on_logits(logits)
    y_N = images.y_N.numpy() if kind == "held-out" else None
    comparison = accuracy.compare(logits, y_N, images.classes)
    if here is not None:
        latencies, latency_samples = latency.measure(
            teacher, here.engine, images, options, opset=opset, on_progress=on_progress
        )
        latencies = msgspec.structs.replace(latencies, first_inference=here.first)
    dataset = records.DatasetPart(kind=kind, n=len(images), id=identity(images))
    samples = _samples(logits, y_N, dataset, latency_samples)
    measurements = records.Measurements(
        dataset=msgspec.structs.replace(dataset, classes=tuple(images.classes)),
        **comparison._asdict(),
        images_agreement=agreement.measure(held_back, networks),
        latency=latencies,
        engine=manifest,
        engine_bytes=path.stat().st_size,
        memory=_memory(here),
        engine_absent=absent,
        graph_absent=graph_absent,
    )
    return measurements, samples


def _memory(engine: Opened | None) -> records.Memory:
    return records.Memory(
        engine_resident_bytes=engine.resident_bytes if engine else None,
        process_peak_bytes=machine.peak_memory_bytes(),
    )


def _samples(
    logits: accuracy.Logits,
    y_N: NDArray[np.int64] | None,
    dataset: records.DatasetPart,
    latencies: records.LatencySamples | None,
) -> records.Samples:
    """Return the raw numbers behind measurements."""
    return records.Samples(
        dataset=dataset,
        predictions={name: tuple(x_NK.argmax(axis=1).tolist()) for name, x_NK in logits.items()},
        labels=None if y_N is None else tuple(y_N.tolist()),
        latency=latencies,
    )


def _record_metrics(ctx: Context, measurements: records.Measurements, teacher: Card) -> None:
    """Show the figures that a user looks for first, and what makes them doubtful."""
    if program_kind.kind_of(teacher.arch) == "onnx":
        ctx.note(_ONNX_TEACHER)
    for name, accuracy_record in measurements.accuracy.items():
        ctx.metric(f"{name}_top1", accuracy_record.top1)
    for name, share in measurements.bank_agreement.items():
        ctx.metric(f"{name}_bank_agreement", share.value)
    for name, share in measurements.images_agreement.items():
        ctx.metric(f"{name}_images_agreement", share.value)
    if measurements.latency is None:
        ctx.metric("engine", "built, not run")
        ctx.note(
            f"{measurements.engine_absent}; where such a GPU is: madpipe validate --engine "
            f"{ctx.input('build/engine').parent} --teacher {ctx.input('teacher/weights')}"
        )
        return
    _record_latency(ctx, measurements.latency)


def _record_latency(ctx: Context, latency_record: records.Latency) -> None:
    """Show the speed-ups and the time to the first inference, and what makes them doubtful."""
    batches = latency_record.batches
    ctx.metric("speedup", batches[0].speedup.median)
    if same_backend := batches[0].speedup_same_backend:
        ctx.metric("speedup_same_backend", same_backend.median)
    if first := latency_record.first_inference:
        ctx.metric("engine_first_ms", first.p50_ms)
    if why := latency_record.teacher_engine_absent:
        ctx.note(why)
    if unsteady := [str(latency.batch) for latency in batches if not latency.warmup.is_steady]:
        ctx.note(f"warming up ended before latencies were steady at batch {', '.join(unsteady)}")
    if causes := {cause for latency in batches for cause in latency.engine.causes}:
        ctx.note(f"latencies were noisy: {'; '.join(sorted(causes))}")

"""The validate stage: accuracy and latency, measured and stored, not judged.

Accuracy is of teacher, student, ONNX file and engine on the same held-out images, so that each
loss belongs to a step; without labelled images it is agreement with the teacher on the bank. An
engine for GPUs that are elsewhere is stood for by the graph that it was built from.
Latency is of teacher (torch), the teacher as an engine, and the engine, interleaved.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic import write_bytes
from pipeline.gates.build_records import EngineManifest
from pipeline.gates.measures import SCHEMA
from pipeline.stage import Context, StageError
from stages.data import images
from stages.data.images import Images
from stages.engines import compatibility
from stages.engines.base import BACKENDS
from stages.engines.open_engine import read_manifest
from stages.networks import factory
from stages.validate import accuracy, latency
from stages.validate.images import bank_images, check_images, identity
from stages.validate.logits import engine_logits, graph_logits, onnx_logits, torch_logits
from stages.validate.open_engine import open_here, sizes

Logits = dict[str, NDArray[np.float32]]


def run(ctx: Context) -> None:
    """Leave the measurements and the raw samples."""
    options = ctx.settings.validate
    teacher_code = ctx.external("teacher_code")
    teacher, card = factory.load(ctx.input("teacher/weights"), code=teacher_code, place="teacher")
    student, _ = factory.load(
        ctx.input("distill/student"), code=ctx.external("student_code"), place="student"
    )
    if options.images == "bank":
        shown = bank_images(ctx.input("distill/bank"), card)
    else:
        shown = images.load(ctx.settings.data, ctx.external("data")).held_out
        check_images(shown, card)
    logits = {
        "teacher": torch_logits(teacher, shown),
        "student": torch_logits(student, shown),
        "onnx": onnx_logits(ctx.input("export/onnx"), shown),
    }
    path = ctx.input("build/engine")
    manifest = read_manifest(ctx.input("build/manifest"), path)
    about: dict[str, Any] = {}
    if manifest.targets:
        about = _of_graph(ctx, manifest, shown, logits)
    if absent := compatibility.why_not_run(manifest):
        measured, samples = judged_by(logits, shown, is_bank=options.images == "bank")
        measured |= {"engine_absent": absent, "latency": None} | sizes(manifest, path, None)
    else:
        engine = open_here(manifest, path, threads=options.threads)
        logits["engine"] = engine_logits(engine.session, shown)
        ctx.stop_if_asked()
        measured, samples = judged_by(logits, shown, is_bank=options.images == "bank")
        with tempfile.TemporaryDirectory() as folder:
            measured["latency"], samples["latency"] = latency.measure(
                teacher,
                card,
                engine,
                shown,
                options,
                opset=ctx.settings.export.opset or BACKENDS[manifest.backend].opset,
                files=(ctx.input("teacher/weights"), teacher_code),
                folder=Path(folder),
                tell=lambda done, total: ctx.progress(done, total, "parts"),
            )
        measured |= sizes(manifest, path, engine.resident_bytes)
    measured |= about
    write_json(ctx.output("measurements"), measured)
    write_json(ctx.output("samples"), samples)
    _tell(ctx, measured)
    if absent:
        ctx.metric("engine", "built, not run")
        ctx.note(
            f"{absent}; where such a GPU is: madpipe validate --engine {path.parent} "
            f"--teacher {ctx.input('teacher/weights')}"
        )


def _of_graph(
    ctx: Context, manifest: EngineManifest, shown: Images, logits: Logits
) -> dict[str, Any]:
    """Add what the graph says that an engine for elsewhere was built from; return why it cannot."""
    graph, threads = ctx.input("build/graph"), ctx.settings.validate.threads
    try:
        logits["graph"] = graph_logits(graph, manifest.precision, shown, threads=threads)
    except StageError as error:
        ctx.note(str(error))
        return {"graph_absent": str(error)}
    return {}


def _tell(ctx: Context, measured: dict[str, Any]) -> None:
    for name, record in measured["accuracy"].items():
        ctx.metric(f"{name}_top1", record["top1"])
    for name, record in measured["bank_agreement"].items():
        ctx.metric(f"{name}_bank_agreement", record["value"])
    if measured["latency"] is None:
        return
    first = measured["latency"]["batches"][0]
    for name in ("speedup", "speedup_same_backend"):
        if name in first:
            ctx.metric(name, first[name]["median"])
    if why := measured["latency"].get("teacher_engine_absent"):
        ctx.note(why)
    unsteady = [
        str(each["batch"])
        for each in measured["latency"]["batches"]
        if not each["warmup"]["is_steady"]
    ]
    if unsteady:
        ctx.note(f"warming up ended before latencies were steady at batch {', '.join(unsteady)}")
    causes = {
        cause for each in measured["latency"]["batches"] for cause in each["engine"]["causes"]
    }
    if causes:
        ctx.note(f"latencies were noisy: {'; '.join(sorted(causes))}")


def judged_by(
    logits: Logits, shown: Images, *, is_bank: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the logits say, and the predictions behind it.

    Raises:
        StageError: A network gives outputs that are not finite.
    """
    said = {name: each.argmax(axis=1) for name, each in logits.items()}
    set_ = {"kind": "bank" if is_bank else "held-out", "n": len(shown.y_N), "id": identity(shown)}
    measured: dict[str, Any] = {"schema": SCHEMA, "set": set_ | {"classes": list(shown.classes)}}
    samples: dict[str, Any] = {"schema": SCHEMA, "set": set_}
    samples["said"] = {name: each.tolist() for name, each in said.items()}
    if is_bank:
        accuracy.check(logits)
        empty: dict[str, Any] = {"accuracy": {}, "agreement": {}, "paired": {}}
        return measured | empty | {"bank_agreement": accuracy.agreement(said)}, samples
    y_N = shown.y_N.numpy()
    samples["labels"] = y_N.tolist()
    measured |= accuracy.measure(logits, y_N, shown.classes)
    return measured | {"bank_agreement": {}}, samples


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a document, refusing what JSON has no word for."""
    write_bytes(path, json.dumps(record, allow_nan=False).encode())

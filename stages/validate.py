"""The validate stage: accuracy and latency, measured and stored, not judged.

Accuracy is of teacher, student, ONNX file and engine on the same held-out images, so that each
loss belongs to a step. Latency is of teacher (torch) and engine, interleaved.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier import Classifier
from pipeline.atomic import write_bytes
from pipeline.settings import Validate
from pipeline.stage import Context, StageError
from stages import evaluate, networks, onnxfile, timing
from stages.data import images
from stages.data.images import Images
from stages.engines import fit, resolve
from stages.engines.base import EngineManifest, Session
from stages.engines.manifests import read_manifest

SCHEMA = "madpipe.measurements/1"
_BATCH = 64
_CONFIDENCE = 0.95
_SEED = 0

Logits = dict[str, NDArray[np.float32]]


def run(ctx: Context) -> None:
    """Leave the measurements and the raw latency samples."""
    options = ctx.settings.validate
    dataset = images.load(ctx.settings.data, ctx.external("data"))
    teacher, card = networks.load(
        ctx.input("teacher/weights"), code=ctx.external("teacher_code"), place="teacher"
    )
    student, _ = networks.load(
        ctx.input("distill/student"), code=ctx.external("student_code"), place="student"
    )
    if card.classes != dataset.held_out.classes:
        raise StageError(
            "validate",
            f"the teacher's classes are not the data's ({card.classes[:3]}, "
            f"{dataset.held_out.classes[:3]})",
            "validate on the data that the teacher is for",
        )
    engine = ctx.input("build/engine")
    manifest = read_manifest(ctx.input("build/manifest"), engine)
    logits = {
        "teacher": _torch_logits(teacher, dataset.held_out),
        "student": _torch_logits(student, dataset.held_out),
        "onnx": _onnx_logits(ctx.input("export/onnx"), dataset.held_out),
    }
    session = None
    if reason := fit.not_run(manifest):
        ctx.note(
            f"{reason}; where such a GPU is: madpipe validate --engine {engine.parent} "
            f"--teacher {ctx.input('teacher/weights')}"
        )
    else:
        session = open_session(manifest, engine, threads=options.threads)
        logits["engine"] = _batched(session.infer, dataset.held_out)
    ctx.stop_if_asked()
    measured = accuracy(logits, dataset.held_out)
    samples: dict[str, Any] = {"schema": SCHEMA}
    if session is None:
        measured["not_run"] = reason
    else:
        measured["latency"], samples = latency(
            teacher,
            session,
            dataset.held_out,
            options,
            device_name=manifest.device,
            tell=lambda done, total: ctx.progress(done, total, "batch sizes"),
        )
    measured["engine_bytes"] = ctx.input("build/engine").stat().st_size
    measured["engine"] = msgspec.to_builtins(manifest)
    _write(ctx.output("measurements"), measured)
    _write(ctx.output("samples"), samples)
    for name, record in measured["accuracy"].items():
        ctx.metric(f"{name}_top1", record["top1"])
    if session is None:
        ctx.metric("engine", "built, not run")
    else:
        ctx.metric("speedup", measured["latency"]["batches"][0]["speedup"]["median"])


def open_engine(
    manifest_path: Path, engine: Path, *, threads: int
) -> tuple[EngineManifest, Session]:
    """Load an engine after checking that it is the one its manifest describes, and fits here.

    Raises:
        StageError: The manifest is none, the engine has other bytes, or it is for another machine.
        UnavailableError: Its backend or device is not to be had here.
    """
    manifest = read_manifest(manifest_path, engine)
    return manifest, open_session(manifest, engine, threads=threads)


def open_session(manifest: EngineManifest, engine: Path, *, threads: int) -> Session:
    """Load an engine whose manifest was read, if it fits this machine.

    Raises:
        StageError: It is damaged or for another machine.
        UnavailableError: Its backend or device is not to be had here.
    """
    fit.check(manifest)
    backend = resolve.backend(manifest.backend)
    return backend.open(engine, device=manifest.device, threads=threads)


def logits_of(teacher: Classifier, session: Session, held_out: Images) -> Logits:
    """Return the logits of teacher and engine, in that order."""
    return {
        "teacher": _torch_logits(teacher, held_out),
        "engine": _batched(session.infer, held_out),
    }


def accuracy(logits: Logits, held_out: Images) -> dict[str, Any]:
    """Return top-1, agreement with the teacher, and the paired counts of each step.

    Raises:
        StageError: A network gives outputs that are not finite.
    """
    y_N = held_out.y_N.numpy()
    n = len(y_N)
    for name, each in logits.items():
        if not np.isfinite(each).all():
            raise StageError(
                "validate", f"{name} gives outputs that are not finite (nan)", "check it"
            )
    said = {name: each.argmax(axis=1) for name, each in logits.items()}
    right = {name: each == y_N for name, each in said.items()}
    measured: dict[str, Any] = {"schema": SCHEMA, "accuracy": {}, "agreement": {}, "paired": {}}
    for name, hits in right.items():
        measured["accuracy"][name] = {"top1": float(hits.mean()), "hits": int(hits.sum()), "n": n}
    for name in said.keys() - {"teacher"}:
        same = said[name] == said["teacher"]
        measured["agreement"][name] = {"hits": int(same.sum()), "n": n, "value": float(same.mean())}
    steps = {"student": "teacher", "onnx": "student", "engine": "student"}
    for name, reference in steps.items():
        if name in right and reference in right:
            measured["paired"][name] = {
                "reference": reference,
                "lost": int((right[reference] & ~right[name]).sum()),
                "gained": int((~right[reference] & right[name]).sum()),
                "n": n,
            }
    return measured


def latency(
    teacher: Classifier,
    session: Session,
    held_out: Images,
    options: Validate,
    *,
    device_name: str,
    tell: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure teacher and engine at each batch size; return the records and the raw samples."""
    device = torch.device(device_name)
    teacher = teacher.to(device)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    records: list[dict[str, Any]] = []
    samples: dict[str, Any] = {}
    try:
        for number, batch in enumerate(options.batch_sizes):
            indices_B = torch.arange(batch) % len(held_out.y_N)
            x_BCHW = held_out.batch(indices_B, torch.device("cpu")).contiguous()
            calls = _teacher_call(teacher, x_BCHW.to(device)), session.prepared(x_BCHW.numpy())
            timing.warm_up(*calls, options.warmup_s)
            times_ms = timing.interleaved(*calls, options.pairs)
            records.append(
                {
                    "batch": batch,
                    "teacher": timing.summary(times_ms[:, 0], batch, _SEED),
                    "engine": timing.summary(times_ms[:, 1], batch, _SEED),
                    "speedup": timing.speedup(times_ms, _CONFIDENCE, _SEED),
                }
            )
            samples[str(batch)] = {
                "teacher_ms": times_ms[:, 0].tolist(),
                "engine_ms": times_ms[:, 1].tolist(),
            }
            tell(number + 1, len(options.batch_sizes))
    finally:
        torch.set_num_threads(threads_before)
    record = {"threads": options.threads, "device": device_name, "batches": records}
    return record, {"schema": SCHEMA, "unit": "ms", "batches": samples}


def _teacher_call(teacher: Classifier, x_BCHW: torch.Tensor) -> timing.Call:
    x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def call() -> None:
        teacher(x_BCHW)
        if x_BCHW.is_cuda:
            torch.cuda.synchronize()

    return call


def _torch_logits(network: Classifier, held_out: Images) -> NDArray[np.float32]:
    return evaluate.predict(network, held_out, torch.device("cpu")).numpy()


def _onnx_logits(path: Path, held_out: Images) -> NDArray[np.float32]:
    opened = onnxfile.session(path)
    return _batched(lambda x_BCHW: onnxfile.logits(opened, x_BCHW), held_out)


def _batched(infer: Any, held_out: Images) -> NDArray[np.float32]:
    cpu = torch.device("cpu")
    return np.concatenate(
        [
            infer(held_out.batch(slice(first, first + _BATCH), cpu).contiguous().numpy())
            for first in range(0, len(held_out.y_N), _BATCH)
        ]
    )


def _write(path: Path, record: dict[str, Any]) -> None:
    write_bytes(path, json.dumps(record, allow_nan=False).encode())

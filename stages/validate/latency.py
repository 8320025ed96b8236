"""Latency of teacher, the teacher as an engine, and the engine, measured in turns.

The teacher as an fp32 engine of the same backend separates what distillation gains from what the
backend gains. All are measured in this process, or in several fresh ones.
Shape legend: B batch, C channel, H W space, P processes, R repetitions, M measured networks.
"""

import multiprocessing
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier import Classifier
from pipeline.errors import MadpipeError, UnavailableError, error_summary
from pipeline.gates.build_records import EngineManifest
from pipeline.gates.measurements import (
    BatchLatency,
    BatchSamples,
    Conditions,
    Latency,
    LatencySamples,
    WarmUp,
)
from pipeline.settings import Validate
from pipeline.stage import StageError
from stages.data.images import Images
from stages.engines import timing
from stages.engines.base import BACKENDS, BuildRequest, OnProgress, Session, no_progress
from stages.engines.open_engine import build_engine, open_engine
from stages.networks import card as cards
from stages.networks import factory, weights
from stages.networks.card import Card
from stages.onnxgraph import io as onnx_io
from stages.validate.latency_intervals import latency_record, ratio_record
from stages.validate.machine_load import LoadMonitor, causes

_TEACHER_PRECISION = "fp32"

Batches = Mapping[int, NDArray[np.float32]]
"""Batch size -> images BCHW in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """The teacher in torch, and what a fresh process needs to build it again."""

    network: Classifier
    card: Card
    code: Path | None
    """The file of a user's network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An opened engine, its file and its manifest."""

    manifest: EngineManifest
    path: Path
    session: Session
    resident_bytes: int
    """By how much loading it made this process grow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFiles:
    """What is measured, as files that a fresh process can load."""

    teacher: Path
    """Weights that carry their card."""
    teacher_code: Path | None
    engines: Sequence[Path]
    """The teacher's engine, where there is one, and the engine."""
    manifest: EngineManifest


Prepare = Callable[[NDArray[np.float32]], timing.Call]
"""Takes images BCHW and returns a call that runs them, already in place."""

Times = Mapping[int, tuple[NDArray[np.float64], WarmUp]]
"""Batch size -> what one process measured: milliseconds of shape RM, a column for each network."""


class CannotBuild(MadpipeError):
    """The teacher cannot be built as an engine, which leaves one figure out and is no failure."""


def measure(
    teacher: Teacher,
    engine: Engine,
    images: Images,
    options: Validate,
    *,
    opset: int,
    on_progress: OnProgress = no_progress,
) -> tuple[Latency, LatencySamples]:
    """Measure teacher, its engine and the engine at each batch size; `images` is what they run.

    `opset` is the ONNX operator set of the teacher's engine.

    Raises:
        StageError: An engine cannot be run.
    """
    manifest, cpu = engine.manifest, torch.device("cpu")
    batches = {
        size: images.batch(torch.arange(size) % len(images), cpu).contiguous().numpy()
        for size in options.batch_sizes
    }
    with tempfile.TemporaryDirectory(prefix="madpipe-") as folder:
        engines, absent = {"engine": engine.path}, None
        if options.teacher_engine:
            try:
                path = build_teacher_engine(teacher, manifest, Path(folder), opset=opset)
                engines = {"teacher_engine": path} | engines
            except CannotBuild as error:
                absent = str(error)
        files = NetworkFiles(
            teacher=Path(folder) / "teacher.safetensors",
            teacher_code=teacher.code,
            engines=[*engines.values()],
            manifest=manifest,
        )
        monitor = LoadMonitor()
        if options.processes > 1:
            # The user's own file may carry no card, which a fresh process needs to load it.
            weights.save(files.teacher, teacher.network.backbone, cards.metadata(teacher.card))
            times = _measure_in_fresh_processes(files, batches, options, on_progress)
        else:
            sessions = [*_open(files.engines[:-1], manifest, options), engine.session]
            networks = _prepared_by(teacher.network, sessions, manifest.device)
            times = [_measure_here(networks, batches, options, on_progress)]
        conditions = monitor.conditions()
    records, samples = batch_records(
        times, ("teacher", *engines), conditions, options.process_spread
    )
    latency = Latency(
        threads=options.threads,
        device=manifest.device,
        processes=options.processes,
        conditions=conditions,
        teacher_engine_absent=absent,
        batches=records,
    )
    return latency, LatencySamples(processes=options.processes, batches=samples)


def build_teacher_engine(
    teacher: Teacher, like: EngineManifest, folder: Path, *, opset: int
) -> Path:
    """Build the teacher as an fp32 engine of the backend and device of `like`; return its path.

    Raises:
        CannotBuild: The backend cannot; the text says why.
    """
    onnx = folder / "teacher.onnx"
    engine = folder / ("teacher-" + BACKENDS[like.backend].engine_file)
    request = BuildRequest(
        onnx=onnx, engine=engine, device=like.device, precision=_TEACHER_PRECISION
    )
    try:
        onnx_io.save(onnx_io.from_torch(teacher.network, teacher.card, opset=opset), onnx)
        build_engine(like.backend, request)
    except Exception as error:  # the exporter may raise anything on a user's network
        is_ours = isinstance(error, (StageError, UnavailableError))
        reason = str(error) if is_ours else error_summary(error)
        raise CannotBuild(
            "validate", f"the teacher makes no engine of {like.backend} ({reason})", "none needed"
        ) from error
    return engine


def _measure_here(
    networks: Sequence[Prepare],
    batches: Batches,
    options: Validate,
    on_progress: OnProgress = no_progress,
) -> Times:
    """Return the latencies at each batch size, measured in this process."""
    on_progress(0, len(batches), "batch sizes")
    threads_before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        times: dict[int, tuple[NDArray[np.float64], WarmUp]] = {}
        for size, x_BCHW in batches.items():
            calls = [prepare(x_BCHW) for prepare in networks]
            warmup = timing.warm_up(calls, options.warmup_s)
            repetitions = -(-options.pairs // options.processes)
            times[size] = timing.interleaved(calls, repetitions), warmup
            on_progress(len(times), len(batches), "batch sizes")
    finally:
        torch.set_num_threads(threads_before)
    return times


def _measure_in_fresh_processes(
    files: NetworkFiles, batches: Batches, options: Validate, on_progress: OnProgress
) -> list[Times]:
    """Return the latencies that several fresh processes measured, one after the other."""
    times: list[Times] = []
    on_progress(0, options.processes, "processes")
    for number in range(options.processes):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            times.append(pool.submit(_measure_files, files, batches, options).result())
        on_progress(number + 1, options.processes, "processes")
    return times


def _measure_files(files: NetworkFiles, batches: Batches, options: Validate) -> Times:
    teacher, _ = factory.load(files.teacher, code=files.teacher_code, place="teacher")
    sessions = _open(files.engines, files.manifest, options)
    networks = _prepared_by(teacher, sessions, files.manifest.device)
    return _measure_here(networks, batches, options)


def _open(engines: Sequence[Path], like: EngineManifest, options: Validate) -> list[Session]:
    return [open_engine(like, path, threads=options.threads) for path in engines]


def _prepared_by(teacher: Classifier, sessions: Sequence[Session], device: str) -> list[Prepare]:
    """Return what prepares the calls: of the teacher in torch, and of each engine."""
    teacher = teacher.to(torch.device(device))

    def prepare_teacher(images_BCHW: NDArray[np.float32]) -> timing.Call:
        on_device_BCHW = torch.from_numpy(images_BCHW).to(device)
        x_BCHW = on_device_BCHW.contiguous(memory_format=torch.channels_last)

        @torch.inference_mode()
        def call() -> None:
            teacher(x_BCHW)
            if x_BCHW.is_cuda:
                torch.cuda.synchronize()

        return call

    return [prepare_teacher, *(session.prepared for session in sessions)]


def batch_records(
    times: Sequence[Times], names: Sequence[str], conditions: Conditions, spread: float
) -> tuple[tuple[BatchLatency, ...], dict[str, BatchSamples]]:
    """Return the records of all batch sizes and the raw samples.

    Args:
        times: What each process measured.
        names: What is in each column: teacher, teacher_engine where there is one, engine.
        conditions: What else the machine did.
        spread: Relative standard deviation between processes, assumed where there is one.
    """
    batches: list[BatchLatency] = []
    samples: dict[str, BatchSamples] = {}
    for size in times[0]:
        times_ms_PRM = np.stack([process[size][0] for process in times])
        times_ms_PR = {name: times_ms_PRM[..., column] for column, name in enumerate(names)}
        records = {name: latency_record(ms_PR, size, spread) for name, ms_PR in times_ms_PR.items()}
        records = {
            name: msgspec.structs.replace(record, causes=causes(conditions, record))
            for name, record in records.items()
        }
        ratios = {
            name: ratio_record(ms_PR, times_ms_PR["engine"], spread)
            for name, ms_PR in times_ms_PR.items()
            if name != "engine"
        }
        warmups = [process[size][1] for process in times]
        batches.append(
            BatchLatency(
                batch=size,
                teacher=records["teacher"],
                teacher_engine=records.get("teacher_engine"),
                engine=records["engine"],
                speedup=ratios["teacher"],
                speedup_same_backend=ratios.get("teacher_engine"),
                warmup=WarmUp(
                    seconds=round(max(warmup.seconds for warmup in warmups), 3),
                    is_steady=all(warmup.is_steady for warmup in warmups),
                ),
            )
        )
        flat_ms = {name: tuple(ms_PR.reshape(-1).tolist()) for name, ms_PR in times_ms_PR.items()}
        samples[str(size)] = BatchSamples(
            teacher_ms=flat_ms["teacher"],
            teacher_engine_ms=flat_ms.get("teacher_engine"),
            engine_ms=flat_ms["engine"],
        )
    return tuple(batches), samples

"""Latency of teacher, the teacher as an engine, and the engine, measured in turns.

The teacher as an fp32 engine of the same backend separates what distillation gains from what the
backend gains. All are measured in this process, or in several fresh ones.
Shape legend: B batch, C channel, H W space, P processes, R repetitions, M measured networks.
"""

import multiprocessing
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
from stages.engines import selection, timing
from stages.engines.base import BACKENDS, BuildRequest, OnProgress, Session, no_progress
from stages.engines.open_engine import build_engine
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
    resident_bytes: int | None
    """By how much loading it made this process grow; None where the system does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """What is measured, ready to run."""

    teacher: Classifier
    device: str
    """Where the teacher runs: cpu or cuda."""
    sessions: Sequence[Session]
    """The teacher's engine, where there is one, and the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFiles:
    """The same as files that a fresh process can load."""

    teacher: Path
    """Weights that carry their card."""
    teacher_code: Path | None
    engines: tuple[Path, ...]
    backend: str
    device: str

    def open(self, threads: int) -> Networks:
        """Load everything.

        Raises:
            StageError: Something cannot be loaded.
        """
        teacher, _ = factory.load(self.teacher, code=self.teacher_code, place="teacher")
        sessions = self.open_engines(self.engines, threads)
        return Networks(teacher=teacher, device=self.device, sessions=sessions)

    def open_engines(self, paths: Sequence[Path], threads: int) -> list[Session]:
        """Load some of the engines.

        Raises:
            StageError: One cannot be loaded.
        """
        backend = selection.backend(self.backend)
        return [backend.open(path, device=self.device, threads=threads) for path in paths]


class BatchTimes(NamedTuple):
    """What one process measured at one batch size."""

    times_ms_RM: NDArray[np.float64]
    """A column for the teacher and one for each engine."""
    warmup: WarmUp


Times = Mapping[int, BatchTimes]
"""Batch size -> what one process measured."""


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
    """Measure teacher, its engine and the engine at each batch size.

    Args:
        teacher: What the engine is compared with.
        engine: The engine.
        images: Images to run.
        options: How to measure.
        opset: ONNX operator set for the teacher's engine.
        on_progress: Called with done, total and the unit.

    Raises:
        StageError: An engine cannot be run.
    """
    manifest = engine.manifest
    with tempfile.TemporaryDirectory(prefix="madpipe-") as name:
        folder, teacher_engine, absent = Path(name), None, None
        if options.teacher_engine:
            try:
                teacher_engine = build_teacher_engine(teacher, manifest, folder, opset=opset)
            except CannotBuild as error:
                absent = str(error)
        files = NetworkFiles(
            teacher=folder / "teacher.safetensors",
            teacher_code=teacher.code,
            engines=(*([teacher_engine] if teacher_engine else []), engine.path),
            backend=manifest.backend,
            device=manifest.device,
        )
        monitor = LoadMonitor()
        times = _measure_networks(
            teacher, engine, images, options, files=files, on_progress=on_progress
        )
        conditions = monitor.conditions()
    names = ("teacher", *(["teacher_engine"] if teacher_engine else []), "engine")
    records, samples = batch_records(times, names, conditions, options.process_spread)
    latency = Latency(
        threads=options.threads,
        device=manifest.device,
        processes=options.processes,
        conditions=conditions,
        teacher_engine_absent=absent,
        batches=records,
    )
    return latency, LatencySamples(processes=options.processes, batches=samples)


def _measure_networks(
    teacher: Teacher,
    engine: Engine,
    images: Images,
    options: Validate,
    *,
    files: NetworkFiles,
    on_progress: OnProgress,
) -> list[Times]:
    """Return what each process measured: this one, or as many fresh ones as the settings ask."""
    cpu = torch.device("cpu")
    batches = {
        size: images.batch(torch.arange(size) % len(images), cpu).contiguous().numpy()
        for size in options.batch_sizes
    }
    if options.processes > 1:
        # The user's own file may carry no card, which a fresh process needs to load it.
        weights.save(files.teacher, teacher.network.backbone, cards.metadata(teacher.card))
        return measure_in_fresh_processes(files, batches, options, on_progress)
    sessions = [*files.open_engines(files.engines[:-1], options.threads), engine.session]
    networks = Networks(teacher=teacher.network, device=files.device, sessions=sessions)
    return [measure_here(networks, batches, options, options.pairs, on_progress)]


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
        onnx_io.save(onnx_io.convert(teacher.network, teacher.card, opset=opset), onnx)
        build_engine(like.backend, request)
    except Exception as error:  # the exporter may raise anything on a user's network
        is_ours = isinstance(error, (StageError, UnavailableError))
        reason = str(error) if is_ours else error_summary(error)
        raise CannotBuild(
            "validate", f"the teacher makes no engine of {like.backend} ({reason})", "none needed"
        ) from error
    return engine


def measure_here(
    networks: Networks,
    batches: Batches,
    options: Validate,
    repetitions: int,
    on_progress: OnProgress = no_progress,
) -> Times:
    """Return the latencies at each batch size, measured in this process."""
    on_progress(0, len(batches), "batch sizes")
    threads_before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        teacher = networks.teacher.to(torch.device(networks.device))
        times: dict[int, BatchTimes] = {}
        for size, x_BCHW in batches.items():
            calls = [_teacher_call(teacher, torch.from_numpy(x_BCHW).to(networks.device))]
            calls += [session.prepared(x_BCHW) for session in networks.sessions]
            warmup = timing.warm_up(calls, options.warmup_s)
            times[size] = BatchTimes(timing.interleaved(calls, repetitions), warmup)
            on_progress(len(times), len(batches), "batch sizes")
    finally:
        torch.set_num_threads(threads_before)
    return times


def measure_in_fresh_processes(
    files: NetworkFiles, batches: Batches, options: Validate, on_progress: OnProgress = no_progress
) -> list[Times]:
    """Return the latencies that several fresh processes measured, one after the other.

    Raises:
        StageError: Something cannot be loaded there.
    """
    times: list[Times] = []
    on_progress(0, options.processes, "processes")
    for number in range(options.processes):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            times.append(pool.submit(_measure_files, files, batches, options).result())
        on_progress(number + 1, options.processes, "processes")
    return times


def _measure_files(files: NetworkFiles, batches: Batches, options: Validate) -> Times:
    pairs = -(-options.pairs // options.processes)
    return measure_here(files.open(options.threads), batches, options, pairs)


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
        times_ms_PRM = np.stack([process[size].times_ms_RM for process in times])
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
        warmups = [process[size].warmup for process in times]
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


def _teacher_call(teacher: Classifier, x_BCHW: torch.Tensor) -> timing.Call:
    x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def call() -> None:
        teacher(x_BCHW)
        if x_BCHW.is_cuda:
            torch.cuda.synchronize()

    return call

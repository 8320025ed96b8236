"""Latency of teacher, the teacher as an engine, and the engine, measured in turns.

The teacher as an fp32 engine of the same backend separates what distillation gains from what the
backend gains. All are measured in this process, or in several fresh ones.
Shape legend: B batch, C channel, H W space, P processes, R repetitions, M measured networks.
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier import Classifier
from pipeline.atomic import scratch_folder
from pipeline.errors import UnavailableError, error_summary
from pipeline.gates import measurements as records
from pipeline.gates.build_records import EngineManifest
from pipeline.settings import Validate
from pipeline.stage import StageError
from stages import machine_load
from stages.data.images import Images
from stages.engines import timing
from stages.engines.base import BACKENDS, BuildRequest, OnProgress, Session, no_progress
from stages.engines.open_engine import build_engine, open_engine
from stages.engines.providers import hardware
from stages.networks import card as cards
from stages.networks import factory, weights
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph import torch_export
from stages.training import device as devices
from stages.validate.latency_intervals import latency_record, ratio_record

_REPORT_EVERY_S = 5.0

Batches = Mapping[int, NDArray[np.float32]]
"""Batch size -> images BCHW in [0, 1]."""

Times = Mapping[int, tuple[NDArray[np.float64], records.WarmUp]]
"""Batch size -> what one process measured: milliseconds of shape RM, a column for each network."""


class Teacher(NamedTuple):
    """The teacher in torch, and what a fresh process needs to build it again."""

    network: Classifier
    card: cards.Card
    code: Path | None
    """The file of a user's network."""


class Engine(NamedTuple):
    """An opened engine and its file."""

    manifest: EngineManifest
    path: Path
    session: Session


def measure(
    teacher: Teacher,
    engine: Engine,
    images: Images,
    options: Validate,
    *,
    opset: int,
    on_progress: OnProgress = no_progress,
) -> tuple[records.Latency, records.LatencySamples]:
    """Measure teacher, its engine and the engine at each batch size; `images` is what they run.

    `opset` is the ONNX operator set of the teacher's engine.

    Raises:
        StageError: An engine cannot be run, or a process that measures is killed.
    """
    manifest, cpu = engine.manifest, torch.device("cpu")
    batches = {
        size: images.batch(torch.arange(size) % len(images), cpu).contiguous().numpy()
        for size in options.batch_sizes
    }
    with scratch_folder() as folder:
        engines, absent = {"engine": engine.path}, None
        if options.teacher_engine:
            try:
                path = build_teacher_engine(teacher, manifest, Path(folder), opset=opset)
                engines = {"teacher_engine": path} | engines
            except StageError as error:
                absent = str(error)
        paths = list(engines.values())
        before = machine_load.read()
        if options.processes > 1:
            # The user's own file may carry no card, which a fresh process needs to load it.
            file = folder / "teacher.safetensors"
            weights.save(file, teacher.network.backbone, cards.metadata(teacher.card))
            measure_files = partial(
                _measure_files, file, teacher.code, paths, manifest, batches, options=options
            )
            times = _in_fresh_processes(measure_files, options.processes, on_progress)
        else:
            sessions = [
                *(open_engine(manifest, path, threads=options.threads) for path in paths[:-1]),
                engine.session,
            ]
            network = teacher.network.to(torch.device(hardware(manifest.device)))
            times = [_measure_here(network, sessions, batches, options, on_progress)]
        conditions = machine_load.conditions(before)
    latencies, samples = batch_records(
        times, ("teacher", *engines), conditions, options.process_spread
    )
    latency = records.Latency(
        threads=options.threads,
        device=manifest.device,
        processes=options.processes,
        conditions=conditions,
        teacher_engine_absent=absent,
        batches=latencies,
    )
    return latency, records.LatencySamples(processes=options.processes, batches=samples)


def build_teacher_engine(
    teacher: Teacher, like: EngineManifest, folder: Path, *, opset: int
) -> Path:
    """Build the teacher as an fp32 engine of the backend and device of `like`; return its path.

    StageError where the backend cannot, which leaves one figure out and is no failure.
    """
    onnx = folder / "teacher.onnx"
    engine = folder / ("teacher-" + BACKENDS[like.backend].engine_file)
    request = BuildRequest(onnx=onnx, engine=engine, device=like.device, precision="fp32")
    try:
        onnx_io.save(torch_export.from_torch(teacher.network, teacher.card, opset=opset), onnx)
        build_engine(like.backend, request)
    except Exception as error:  # the exporter may raise anything on a user's network
        is_ours = isinstance(error, (StageError, UnavailableError))
        reason = str(error) if is_ours else error_summary(error)
        raise StageError(
            "validate", f"the teacher makes no engine of {like.backend} ({reason})", "none needed"
        ) from error
    return engine


def _in_fresh_processes(
    measure_files: Callable[[], Times], processes: int, on_progress: OnProgress
) -> list[Times]:
    """Return the latencies that several fresh processes measured, one after the other."""
    times: list[Times] = []
    on_progress(0, processes, "processes")
    for number in range(1, processes + 1):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            try:
                times.append(pool.submit(measure_files).result())
            except BrokenProcessPool as error:
                raise StageError(
                    "validate",
                    f"a process that measures latency was killed or crashed ({number} of "
                    f"{processes})",
                    "see whether the machine ran out of memory (dmesg), or set "
                    "validate.processes = 1",
                ) from error
        on_progress(number, processes, "processes")
    return times


def _measure_files(
    teacher: Path,
    code: Path | None,
    engines: Sequence[Path],
    manifest: EngineManifest,
    batches: Batches,
    *,
    options: Validate,
) -> Times:
    """Return the latencies of a teacher whose weights carry their card, and of engines."""
    network, _ = factory.load(teacher, code=code, place="teacher")
    sessions = [open_engine(manifest, engine, threads=options.threads) for engine in engines]
    device = torch.device(hardware(manifest.device))
    return _measure_here(network.to(device), sessions, batches, options)


@devices.enough_memory("validate.batch_sizes", "lower them")
def _measure_here(
    teacher: Classifier,
    sessions: Sequence[Session],
    batches: Batches,
    options: Validate,
    on_progress: OnProgress = no_progress,
) -> Times:
    """Return the latencies at each batch size, measured in this process."""
    repetitions = -(-options.pairs // options.processes)
    report = _PairsReport(on_progress, repetitions * len(batches))
    threads_before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        times: dict[int, tuple[NDArray[np.float64], records.WarmUp]] = {}
        for size, x_BCHW in batches.items():
            calls = [_torch_call(teacher, x_BCHW)]
            calls += [session.prepared(x_BCHW) for session in sessions]
            warmup = timing.warm_up(calls, options.warmup_s)
            times_ms = timing.interleaved(calls, repetitions, on_repetition=report)
            times[size] = times_ms, warmup
            report.end_batch_size(repetitions)
    finally:
        torch.set_num_threads(threads_before)
    return times


class _PairsReport:
    """Reports the pairs of all batch sizes; seldom, so as to disturb no measurement."""

    def __init__(self, on_progress: OnProgress, total: int) -> None:
        self._on_progress = on_progress
        self._before, self._total = 0, total
        self._report(0)

    def __call__(self, done: int) -> None:
        """Take how many are done at this batch size."""
        if time.monotonic() - self._reported_s > _REPORT_EVERY_S:
            self._report(done)

    def end_batch_size(self, done: int) -> None:
        """Count a batch size as done."""
        self._report(done)
        self._before += done

    def _report(self, done: int) -> None:
        self._on_progress(self._before + done, self._total, "pairs")
        self._reported_s = time.monotonic()


def _torch_call(network: Classifier, images_BCHW: NDArray[np.float32]) -> timing.Call:
    """Return a call that runs images, already on its device, until the result is there."""
    on_device_BCHW = torch.from_numpy(images_BCHW).to(network.mean_1C11.device)
    x_BCHW = on_device_BCHW.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def call() -> None:
        network(x_BCHW)
        if x_BCHW.is_cuda:
            torch.cuda.synchronize()

    return call


def batch_records(
    times: Sequence[Times], names: Sequence[str], conditions: records.Conditions, spread: float
) -> tuple[tuple[records.BatchLatency, ...], dict[str, records.BatchSamples]]:
    """Return the records of all batch sizes and the raw samples of all processes.

    `names` are those of the columns: teacher, teacher_engine where there is one, engine. `spread`
    is the relative standard deviation between processes, assumed where there is one.
    """
    batches: list[records.BatchLatency] = []
    samples: dict[str, records.BatchSamples] = {}
    for size in times[0]:
        times_ms_PRM = np.stack([process[size][0] for process in times])
        times_ms_PR = {name: times_ms_PRM[..., column] for column, name in enumerate(names)}
        latencies = {}
        for name, ms_PR in times_ms_PR.items():
            record = latency_record(ms_PR, size, spread)
            causes = machine_load.causes(conditions, record)
            latencies[name] = msgspec.structs.replace(record, causes=causes)
        ratios = {
            name: ratio_record(ms_PR, times_ms_PR["engine"], spread)
            for name, ms_PR in times_ms_PR.items()
            if name != "engine"
        }
        warmups = [process[size][1] for process in times]
        batches.append(
            records.BatchLatency(
                batch=size,
                **latencies,
                speedup=ratios["teacher"],
                speedup_same_backend=ratios.get("teacher_engine"),
                warmup=records.WarmUp(
                    seconds=round(max(warmup.seconds for warmup in warmups), 3),
                    is_steady=all(warmup.is_steady for warmup in warmups),
                ),
            )
        )
        samples[str(size)] = records.BatchSamples(
            **{f"{name}_ms": tuple(ms.reshape(-1).tolist()) for name, ms in times_ms_PR.items()}
        )
    return tuple(batches), samples

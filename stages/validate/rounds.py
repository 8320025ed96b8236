"""Latency of teacher, teacher's engine and engine, in turns, in one process or several fresh ones.

Shape legend: B batch, C channel, H W space, P processes, R rounds, S sides.
"""

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier import Classifier
from pipeline.settings import Validate
from stages.engines import selection, timing
from stages.engines.base import Session
from stages.networks import factory
from stages.validate import latency_stats, machine_load

Times = dict[int, tuple[NDArray[np.float64], timing.WarmUp]]
"""Batch size -> milliseconds of shape RS, and how the warm-up went."""

Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What is measured, loaded and ready."""

    teacher: Classifier
    engine: Session
    teacher_engine: Session | None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the sides, in the order of their columns."""
        return names(has_teacher_engine=self.teacher_engine is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What is measured, as files that a fresh process can load."""

    teacher: Path
    teacher_code: Path | None
    backend: str
    device: str
    engine: Path
    teacher_engine: Path | None

    def open(self, threads: int) -> Sides:
        """Load everything."""
        teacher, _ = factory.load(self.teacher, code=self.teacher_code, place="teacher")
        backend = selection.backend(self.backend)
        return Sides(
            teacher=teacher,
            engine=backend.open(self.engine, device=self.device, threads=threads),
            teacher_engine=self.open_teacher_engine(threads),
        )

    def open_teacher_engine(self, threads: int) -> Session | None:
        """Load the teacher's engine, if there is one."""
        if self.teacher_engine is None:
            return None
        backend = selection.backend(self.backend)
        return backend.open(self.teacher_engine, device=self.device, threads=threads)


def names(*, has_teacher_engine: bool) -> tuple[str, ...]:
    """Return the names of the sides, in the order of their columns."""
    return ("teacher", *(("teacher_engine",) if has_teacher_engine else ()), "engine")


def measure(
    sides: Sides,
    images_BCHW: Mapping[int, NDArray[np.float32]],
    options: Validate,
    *,
    device: str,
    rounds: int,
    tell: Tell = lambda done, total: None,  # noqa: ARG005
) -> Times:
    """Return the latencies at each batch size, measured in this process."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        teacher = sides.teacher.to(torch.device(device))
        found: Times = {}
        for number, (batch, x_BCHW) in enumerate(images_BCHW.items()):
            calls = [_teacher_call(teacher, torch.from_numpy(x_BCHW).to(device))]
            for session in (sides.teacher_engine, sides.engine):
                calls += [session.prepared(x_BCHW)] if session else []
            warm = timing.warm_up(calls, options.warmup_s)
            found[batch] = timing.interleaved(calls, rounds), warm
            tell(number + 1, len(images_BCHW))
    finally:
        torch.set_num_threads(threads_before)
    return found


def measure_afresh(
    files: Files,
    images_BCHW: Mapping[int, NDArray[np.float32]],
    options: Validate,
    tell: Tell,
) -> list[Times]:
    """Return the latencies that several fresh processes measured, one after the other."""
    rounds = -(-options.pairs // options.processes)
    found = []
    for number in range(options.processes):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            found.append(
                pool.submit(_in_process, files, dict(images_BCHW), options, rounds).result()
            )
        tell(number + 1, options.processes)
    return found


def _in_process(
    files: Files, images_BCHW: dict[int, NDArray[np.float32]], options: Validate, rounds: int
) -> Times:
    sides = files.open(options.threads)
    return measure(sides, images_BCHW, options, device=files.device, rounds=rounds)


def record(
    found: Sequence[Times], sides: Sequence[str], watched: Mapping[str, Any], options: Validate
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the records of all batch sizes and the raw samples, from one list a process."""
    records, samples = [], {}
    for batch in found[0]:
        times_PRS = np.stack([times[batch][0] for times in found])
        side_PR = {name: times_PRS[..., column] for column, name in enumerate(sides)}
        warm = [times[batch][1] for times in found]
        one: dict[str, Any] = {"batch": batch}
        for name, each_PR in side_PR.items():
            one[name] = latency_stats.summary(each_PR, batch, options.process_spread)
            one[name]["causes"] = machine_load.causes(watched, one[name])
        spread = options.process_spread
        one["speedup"] = latency_stats.ratio(side_PR["teacher"], side_PR["engine"], spread)
        if "teacher_engine" in side_PR:
            one["speedup_same_backend"] = latency_stats.ratio(
                side_PR["teacher_engine"], side_PR["engine"], spread
            )
        one["warmup"] = {
            "seconds": round(max(each.seconds for each in warm), 3),
            "is_steady": all(each.is_steady for each in warm),
        }
        records.append(one)
        samples[str(batch)] = {
            f"{name}_ms": each_PR.reshape(-1).tolist() for name, each_PR in side_PR.items()
        }
    return {"batches": records}, samples


def _teacher_call(teacher: Classifier, x_BCHW: torch.Tensor) -> timing.Call:
    x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def call() -> None:
        teacher(x_BCHW)
        if x_BCHW.is_cuda:
            torch.cuda.synchronize()

    return call

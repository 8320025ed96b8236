"""How many jobs have room on this machine: by its GPUs where it has some, else by its cores."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from pipeline import estimates, machine
from pipeline.screen import formatting
from pipeline.sweep.combinations import Combination


class Room(NamedTuple):
    """What jobs side by side get."""

    jobs: int
    threads: int
    """CPU threads of each."""
    gpus: tuple[str, ...]
    """CUDA_VISIBLE_DEVICES of each job; empty without GPUs."""
    notes: tuple[str, ...]


def room_for(jobs: int, combinations: Sequence[Combination]) -> Room:
    """Return the room for `jobs` jobs, fewer where there are not so many GPUs or cores.

    A job whose distillation has several processes takes a GPU, or a core, for each.
    """
    import joblib  # noqa: PLC0415  (only jobs pay for it)

    notes = []
    gpus = _visible_gpus()
    # joblib knows the limits of containers as well.
    cores = min(machine.cpu_count(), joblib.cpu_count())
    processes = max(item.project.settings.distill.processes for item in combinations)
    most = max(1, (len(gpus) or cores) // processes)
    if jobs > most:
        limit = f"{len(gpus)} GPUs" if gpus else f"{cores} cores"
        share = f" and {processes} processes a job" if processes > 1 else ""
        notes.append(f"--jobs {jobs} is more than {limit}{share} allow: {most} run at once")
    jobs = min(jobs, most, len(combinations))
    if text := _memory_note(jobs, combinations):
        notes.append(text)
    threads = max(1, cores // (jobs * processes))
    starts = range(0, jobs * processes, processes) if gpus else ()
    shares = tuple(",".join(gpus[start : start + processes]) for start in starts)
    return Room(jobs, threads, shares, tuple(notes))


def _visible_gpus() -> tuple[str, ...]:
    """Return what to set CUDA_VISIBLE_DEVICES to for each GPU that this process may use."""
    count = len(machine.gpus())
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return tuple(map(str, range(count)))
    return tuple(map(str.strip, names.split(",")))[:count]


def _memory_note(jobs: int, combinations: Sequence[Combination]) -> str | None:
    """Return a note where what earlier runs held, times the jobs, is more than may be held."""
    rates = estimates.load(combinations[0].project.store.home)
    known = [
        estimate.memory_bytes
        for item in combinations
        for stage in item.project.stages
        if (estimate := estimates.estimate(stage, item.project.settings, rates))
        and estimate.memory_bytes is not None
    ]
    usable_bytes = machine.usable_memory_bytes()
    needed_bytes = jobs * max(known, default=0)
    if needed_bytes <= usable_bytes:
        return None
    return (
        f"{jobs} jobs may hold {formatting.size(needed_bytes)} together, by what earlier runs "
        f"held, and {formatting.size(usable_bytes)} are here: fewer --jobs are safer"
    )

"""What a process and its children hold, looked at from outside at regular moments."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil


class Sample(NamedTuple):
    """What a process held at one moment, together with all its children."""

    time_s: float
    """Since the epoch, as the times of events."""
    rss_bytes: int
    pss_bytes: int
    """Resident memory, of which what several processes share counts in parts."""
    handles: int
    threads: int
    processes: int
    folder_bytes: int
    """Of all files in the folder that is watched."""


def take(pid: int, folder: Path) -> Sample | None:
    """Return what a process and its children hold now, None where one ends meanwhile."""
    try:
        root = psutil.Process(pid)
        if root.status() == psutil.STATUS_ZOMBIE:
            return None
        held = [
            (one.memory_full_info(), one.num_fds(), one.num_threads())
            for one in (root, *root.children(recursive=True))
        ]
    except psutil.Error:
        return None
    return Sample(
        time_s=time.time(),
        rss_bytes=sum(memory.rss for memory, _, _ in held),
        pss_bytes=sum(memory.pss for memory, _, _ in held),
        handles=sum(handles for _, handles, _ in held),
        threads=sum(threads for _, _, threads in held),
        processes=len(held),
        folder_bytes=folder_bytes(folder),
    )


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder, some of which may vanish meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def follow(
    process: subprocess.Popen[str],
    folder: Path,
    *,
    every_s: float,
    is_far: Callable[[], bool] = lambda: False,
) -> list[Sample]:
    """Take samples of a process until it ends, so many seconds apart.

    Where it `is_far` enough it gets one SIGINT.
    """
    samples, is_stopped = [], False
    while process.poll() is None:
        sample = take(process.pid, folder)
        if sample is not None:
            samples.append(sample)
        if not is_stopped and is_far():
            process.send_signal(signal.SIGINT)
            is_stopped = True
        try:
            process.wait(every_s)
        except subprocess.TimeoutExpired:
            continue
    return samples

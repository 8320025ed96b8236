"""Whether other processes take the cores that the threads of a training step count on."""

import os
import time
from collections.abc import Callable

import torch

from pipeline import machine
from stages import machine_load

_WATCHED_S = 2.0
_OVERLAP_CORES = 0.5
"""So much of the threads' share of the machine has to be taken before anything is said."""


class Contention:
    """Watches the first seconds of a training, and says once where threads have to wait.

    The threads of a step wait for one another many times in it. When another process has the core
    of one of them, all wait: digits took four times as long with two threads as with one, beside
    two busy processes on two cores (benchmarks/2026-11-27-throughput.md).
    """

    def __init__(
        self, device: torch.device, on_note: Callable[[str], None], *, processes: int = 1
    ) -> None:
        """Begin to watch; `on_note` gets what is found.

        Steps on a GPU are not watched, nor where several processes of one training share the cores
        or this one is kept to some of them: what others use is known of all cores together.
        """
        self._on_note = on_note
        is_alone = processes == 1 and machine.cpu_count() == os.cpu_count()
        self._is_over = device.type != "cpu" or torch.get_num_threads() == 1 or not is_alone
        self._before = machine_load.read()

    def look(self) -> None:
        """Judge, at the first call after two seconds; calls before and after do nothing."""
        if self._is_over or time.perf_counter() - self._before.time_s < _WATCHED_S:
            return
        self._is_over = True
        other_cores = machine_load.conditions(self._before).other_cores or 0.0
        threads, cores = torch.get_num_threads(), machine.cpu_count()
        if other_cores > max(0, cores - threads) + _OVERLAP_CORES:
            self._on_note(
                f"other processes use {other_cores:.1f} of {cores} cores, and the {threads} "
                "threads of a step wait for one another; where small images take far longer than "
                "estimated, set OMP_NUM_THREADS=1"
            )

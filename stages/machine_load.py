"""What else the machine does while latency is measured or a training runs, and what that explains.

What the system does not report is None and never guessed. Also the memory of this process.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from pipeline import machine
from pipeline.gates.measurements import Conditions, LatencyRecord

_CPUS = Path("/sys/devices/system/cpu")
_BUSY_FIELDS = ("user", "nice", "system", "irq", "softirq")

_NOISY_VARIATION = 0.10
_DRIFTED = 0.03
_OTHER_CORES = 0.2
_STOLEN_CORES = 0.05
_CLOCK_FELL = 0.95


class Reading(NamedTuple):
    """What the machine and this process have done so far; None: it cannot be read."""

    time_s: float
    own_s: float
    busy_s: float
    stolen_s: float | None
    throttled: int | None
    clock_mhz: float | None


def read() -> Reading:
    """Return the present counters."""
    own, cpu = os.times(), psutil.cpu_times()
    throttle_counts = _numbers("thermal_throttle/core_throttle_count")
    clocks_khz = _numbers("cpufreq/scaling_cur_freq")
    return Reading(
        time_s=time.perf_counter(),
        own_s=own.user + own.system + own.children_user + own.children_system,
        busy_s=sum(getattr(cpu, name, 0.0) for name in _BUSY_FIELDS),
        stolen_s=getattr(cpu, "steal", None),
        throttled=sum(throttle_counts) if throttle_counts else None,
        clock_mhz=sum(clocks_khz) / len(clocks_khz) / 1000 if clocks_khz else None,
    )


def conditions(before: Reading) -> Conditions:
    """Return the load besides this process and what slowed the processor, since `before`."""
    after = read()
    elapsed_s = max(after.time_s - before.time_s, 1e-9)

    def cores(first_s: float | None, last_s: float | None, less_s: float = 0.0) -> float | None:
        if first_s is None or last_s is None:
            return None
        return round(max(0.0, (last_s - first_s - less_s) / elapsed_s), 3)

    throttled = None
    if before.throttled is not None and after.throttled is not None:
        throttled = after.throttled - before.throttled
    return Conditions(
        seconds=round(elapsed_s, 3),
        load_average=round(psutil.getloadavg()[0], 2),
        other_cores=cores(before.busy_s, after.busy_s, after.own_s - before.own_s),
        stolen_cores=cores(before.stolen_s, after.stolen_s),
        throttled=throttled,
        clock_mhz=(before.clock_mhz, after.clock_mhz),
        cores=machine.cpu_count(),
    )


def causes(conditions: Conditions, latency: LatencyRecord) -> tuple[str, ...]:
    """Return what may have made one network's latencies noisy or drift; empty where they do not."""
    low, high = latency.drift.interval if latency.drift else (1.0, 1.0)
    is_noisy = latency.coefficient_of_variation > _NOISY_VARIATION
    if not is_noisy and low <= 1 + _DRIFTED and high >= 1 - _DRIFTED:
        return ()
    reasons = []
    other, stolen = conditions.other_cores, conditions.stolen_cores
    if other is not None and other > _OTHER_CORES:
        reasons.append(f"other processes used {other:.1f} of {conditions.cores} cores")
    if stolen is not None and stolen > _STOLEN_CORES:
        reasons.append(f"the host took away {stolen:.2f} cores (steal)")
    if conditions.throttled:
        reasons.append(f"the processor throttled {conditions.throttled} times")
    before_mhz, after_mhz = conditions.clock_mhz
    if before_mhz and after_mhz and after_mhz < _CLOCK_FELL * before_mhz:
        reasons.append(f"the clock fell from {before_mhz:.0f} to {after_mhz:.0f} MHz")
    return tuple(reasons) or ("no cause was to be seen in load, steal, throttling or clock",)


def resident_bytes() -> int:
    """Return the memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def _numbers(name: str) -> list[int]:
    """Return the numbers in a file of each core's folder in /sys; psutil has no throttling."""
    numbers = []
    for path in _CPUS.glob(f"cpu[0-9]*/{name}"):
        with contextlib.suppress(OSError, ValueError):
            numbers.append(int(path.read_text(encoding="utf-8")))
    return numbers

"""What else the machine did while latency was measured, and what that may explain.

Read from /proc and /sys where they are there; what cannot be read is None and never guessed.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import machine

_PROC_STAT = Path("/proc/stat")
_CPUS = Path("/sys/devices/system/cpu")
_BUSY_FIELDS = (0, 1, 2, 5, 6)  # user, nice, system, irq, softirq
_STEAL_FIELD = 7

_NOISY_VARIATION = 0.10
_DRIFTED = 0.03
_OTHER_CORES = 0.2
_STOLEN_CORES = 0.05
_CLOCK_FELL = 0.95


class _Reading(NamedTuple):
    time_s: float
    own_s: float
    busy_s: float | None
    stolen_s: float | None
    throttled: int | None
    clock_mhz: float | None


class Watch:
    """Observes the machine from its making until `record`."""

    def __init__(self) -> None:
        """Begin."""
        self._before = _read()

    def record(self) -> dict[str, Any]:
        """Return the load besides this process and what slowed the processor, since the start."""
        before, after = self._before, _read()
        elapsed_s = max(after.time_s - before.time_s, 1e-9)

        def cores(first: float | None, last: float | None, less_s: float = 0.0) -> float | None:
            if first is None or last is None:
                return None
            return round(max(0.0, (last - first - less_s) / elapsed_s), 3)

        throttled = None
        if before.throttled is not None and after.throttled is not None:
            throttled = after.throttled - before.throttled
        return {
            "seconds": round(elapsed_s, 3),
            "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "other_cores": cores(before.busy_s, after.busy_s, after.own_s - before.own_s),
            "stolen_cores": cores(before.stolen_s, after.stolen_s),
            "throttled": throttled,
            "clock_mhz": [before.clock_mhz, after.clock_mhz],
            "cores": machine.cpu_count(),
        }


def causes(conditions: Mapping[str, Any], side: Mapping[str, Any]) -> list[str]:
    """Return what may have made one side's latencies noisy or drift; empty where they are not."""
    drift = side["drift"]
    low, high = drift["interval"] if drift else (1.0, 1.0)
    is_noisy = side["coefficient_of_variation"] > _NOISY_VARIATION
    if not is_noisy and low <= 1 + _DRIFTED and high >= 1 - _DRIFTED:
        return []
    found = []
    other, stolen = conditions["other_cores"], conditions["stolen_cores"]
    if other is not None and other > _OTHER_CORES:
        found.append(f"other processes used {other:.1f} of {conditions['cores']} cores")
    if stolen is not None and stolen > _STOLEN_CORES:
        found.append(f"the host took away {stolen:.2f} cores (steal)")
    if conditions["throttled"]:
        found.append(f"the processor throttled {conditions['throttled']} times")
    before, after = conditions["clock_mhz"]
    if before and after and after < _CLOCK_FELL * before:
        found.append(f"the clock fell from {before:.0f} to {after:.0f} MHz")
    return found or ["no cause was to be seen in load, steal, throttling or clock"]


def resident_bytes() -> int | None:
    """Return the memory that this process holds now, None where the system does not say."""
    return _status_bytes("VmRSS")


def peak_bytes() -> int | None:
    """Return the most memory that this process held, None where the system does not say."""
    return _status_bytes("VmHWM")


def _status_bytes(field: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = next((line.split()[1] for line in lines if line.startswith(field + ":")), None)
    return int(found) * 1024 if found else None


def _read() -> _Reading:
    own = os.times()
    busy_s, stolen_s = _cpu_seconds()
    return _Reading(
        time_s=time.perf_counter(),
        own_s=own.user + own.system + own.children_user + own.children_system,
        busy_s=busy_s,
        stolen_s=stolen_s,
        throttled=_sum("thermal_throttle/core_throttle_count"),
        clock_mhz=_mean_clock_mhz(),
    )


def _cpu_seconds() -> tuple[float | None, float | None]:
    try:
        first = _PROC_STAT.read_text(encoding="utf-8").splitlines()[0].split()[1:]
    except (OSError, IndexError):
        return None, None
    ticks = [int(each) for each in first]
    per_s = os.sysconf("SC_CLK_TCK")
    return sum(ticks[field] for field in _BUSY_FIELDS) / per_s, ticks[_STEAL_FIELD] / per_s


def _numbers(name: str) -> list[int]:
    found = []
    for path in _CPUS.glob(f"cpu[0-9]*/{name}"):
        try:
            found.append(int(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    return found


def _sum(name: str) -> int | None:
    found = _numbers(name)
    return sum(found) if found else None


def _mean_clock_mhz() -> float | None:
    found = _numbers("cpufreq/scaling_cur_freq")
    return sum(found) / len(found) / 1000 if found else None

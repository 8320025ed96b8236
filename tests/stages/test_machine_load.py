"""A cause is named only where latencies are noisy, and only what was observed."""

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from pipeline import machine
from pipeline.gates.measurements import Conditions, Drift
from stages import machine_load
from stages.validate.latency_intervals import latency_record

QUIET = Conditions(
    seconds=3.0,
    load_average=0.5,
    other_cores=0.0,
    stolen_cores=0.0,
    throttled=0,
    clock_mhz=(3000.0, 3000.0),
    cores=2,
)
STEADY = msgspec.structs.replace(
    latency_record(np.ones((1, 40)), 1, 0.01),
    coefficient_of_variation=0.02,
    drift=Drift(ratio=1.0, interval=(0.99, 1.01)),
)
NOISY = msgspec.structs.replace(STEADY, coefficient_of_variation=0.3)
DRIFTING = msgspec.structs.replace(STEADY, drift=Drift(ratio=1.2, interval=(1.15, 1.25)))


def test_steady_latencies_need_no_cause_whatever_else_ran() -> None:
    busy = msgspec.structs.replace(QUIET, other_cores=1.5)
    assert machine_load.causes(busy, STEADY) == ()
    assert machine_load.causes(QUIET, msgspec.structs.replace(STEADY, drift=None)) == ()


@pytest.mark.parametrize("latency", [NOISY, DRIFTING])
@pytest.mark.parametrize(
    ("observed", "cause"),
    [
        ({"other_cores": 0.9}, "other processes used 0.9 of 2 cores"),
        ({"stolen_cores": 0.2}, "the host took away 0.20 cores (steal)"),
        ({"throttled": 4}, "the processor throttled 4 times"),
        ({"clock_mhz": (3000.0, 2000.0)}, "the clock fell from 3000 to 2000 MHz"),
        ({}, "no cause was to be seen in load, steal, throttling or clock"),
        (
            {"other_cores": None, "stolen_cores": None, "throttled": None},
            "no cause was to be seen in load, steal, throttling or clock",
        ),
    ],
)
def test_noise_and_drift_come_with_what_was_observed(
    latency: Any, observed: dict[str, Any], cause: str
) -> None:
    conditions = msgspec.structs.replace(QUIET, **observed)
    assert machine_load.causes(conditions, latency) == (cause,)


def test_load_besides_this_process_is_what_the_machine_spent_less_what_it_spent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two readings, 10 s apart: 15 busy seconds on all cores, 5 of them ours, 1 stolen."""
    core = tmp_path / "cpu0"
    for name in ("thermal_throttle", "cpufreq"):
        (core / name).mkdir(parents=True)
    monkeypatch.setattr(machine_load, "_CPUS", tmp_path)

    def reading(time_s: float, user_s: float, steal_s: float, own_s: float, khz: int) -> None:
        fields = dict.fromkeys(("nice", "system", "idle", "irq", "softirq"), 1.0)
        times = msgspec.defstruct("Times", [*fields, "user", "steal"])
        cpu = times(**fields, user=user_s, steal=steal_s)
        monkeypatch.setattr(psutil, "cpu_times", lambda: cpu)
        own = msgspec.defstruct("Own", ["user", "system", "children_user", "children_system"])
        monkeypatch.setattr(os, "times", lambda: own(own_s, 0.0, 0.0, 0.0))
        monkeypatch.setattr(time, "perf_counter", lambda: time_s)
        (core / "thermal_throttle" / "core_throttle_count").write_text(str(int(time_s)))
        (core / "cpufreq" / "scaling_cur_freq").write_text(str(khz))

    reading(100.0, 50.0, 2.0, 30.0, 3_000_000)
    before = machine_load.read()
    reading(110.0, 65.0, 3.0, 35.0, 2_000_000)
    conditions = machine_load.conditions(before)
    assert (conditions.seconds, conditions.other_cores, conditions.stolen_cores) == (10, 1, 0.1)
    assert (conditions.throttled, conditions.clock_mhz) == (10, (3000.0, 2000.0))


def test_what_the_system_does_not_report_is_not_guessed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    times = msgspec.defstruct("Times", ["user", "system"])  # as where there is no steal time
    monkeypatch.setattr(psutil, "cpu_times", lambda: times(1.0, 1.0))
    monkeypatch.setattr(machine_load, "_CPUS", tmp_path)
    monkeypatch.setattr(machine, "_OWN_STATUS", tmp_path / "none")
    conditions = machine_load.conditions(machine_load.read())
    assert (conditions.other_cores, conditions.stolen_cores) == (0.0, None)
    assert (conditions.throttled, conditions.clock_mhz) == (None, (None, None))
    assert machine.peak_memory_bytes() is None


def test_memory_in_use_is_at_most_its_peak() -> None:
    resident_bytes, peak_bytes = machine_load.resident_bytes(), machine.peak_memory_bytes()
    assert resident_bytes > 0
    assert peak_bytes is None or resident_bytes <= peak_bytes

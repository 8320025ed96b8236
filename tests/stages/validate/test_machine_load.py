"""A cause is named only where latencies are noisy, and only what was seen."""

from typing import Any

import pytest

from stages.validate import machine_load

QUIET: dict[str, Any] = {
    "seconds": 3.0,
    "load_average": 0.5,
    "other_cores": 0.0,
    "stolen_cores": 0.0,
    "throttled": 0,
    "clock_mhz": [3000.0, 3000.0],
    "cores": 2,
}
STEADY = {"coefficient_of_variation": 0.02, "drift": {"ratio": 1.0, "interval": [0.99, 1.01]}}
NOISY = STEADY | {"coefficient_of_variation": 0.3}
DRIFTING = STEADY | {"drift": {"ratio": 1.2, "interval": [1.15, 1.25]}}


def test_steady_latencies_need_no_cause_whatever_else_ran() -> None:
    assert machine_load.causes(QUIET | {"other_cores": 1.5}, STEADY) == []
    assert machine_load.causes(QUIET, STEADY | {"drift": None}) == []


@pytest.mark.parametrize("side", [NOISY, DRIFTING])
@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ({"other_cores": 0.9}, "other processes used 0.9 of 2 cores"),
        ({"stolen_cores": 0.2}, "the host took away 0.20 cores (steal)"),
        ({"throttled": 4}, "the processor throttled 4 times"),
        ({"clock_mhz": [3000.0, 2000.0]}, "the clock fell from 3000 to 2000 MHz"),
        ({}, "no cause was to be seen in load, steal, throttling or clock"),
        (
            {"other_cores": None, "stolen_cores": None, "throttled": None},
            "no cause was to be seen in load, steal, throttling or clock",
        ),
    ],
)
def test_noise_and_drift_are_told_with_what_was_seen(
    side: dict[str, Any], seen: dict[str, Any], told: str
) -> None:
    assert machine_load.causes(QUIET | seen, side) == [told]


def test_watching_this_machine_gives_every_field() -> None:
    watch = machine_load.Watch()
    sum(range(100_000))
    found = watch.record()
    assert found.keys() == QUIET.keys()
    assert found["seconds"] >= 0
    assert found["other_cores"] is None or found["other_cores"] >= 0


def test_where_the_system_says_nothing_nothing_is_guessed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(machine_load, "_PROC_STAT", tmp_path / "none")
    monkeypatch.setattr(machine_load, "_CPUS", tmp_path)
    found = machine_load.Watch().record()
    assert (found["other_cores"], found["stolen_cores"], found["throttled"]) == (None, None, None)
    assert found["clock_mhz"] == [None, None]


def test_memory_in_use_is_at_most_its_peak() -> None:
    now, peak = machine_load.resident_bytes(), machine_load.peak_bytes()
    if now is not None and peak is not None:
        assert 0 < now <= peak

"""How long stages will take and how much memory: rates that earlier and smoke runs measured here.

A run counts how long each unit of progress takes: a round, a step, an image. The rates lie in the
working folder, for each stage and machine; a plan multiplies them by what the settings ask for.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pipeline import machine, stored_files
from pipeline.atomic import write_bytes
from pipeline.events import Event
from pipeline.settings import Settings
from pipeline.stage import Stage

RATES_FILE = "rates.json"
_COUNTS = {"distill.rounds": "rounds", "teacher.epochs": "steps", "validate.pairs": "pairs"}
"""Settings that say how many of a unit there are; all others change what one takes."""
_ALSO = ("teacher.arch", "student.arch", "data.source", "data.root", "data.image_size_px")
"""Settings on which the time of every stage depends, whether it reads them or not."""


class UnitRate(msgspec.Struct, frozen=True, kw_only=True):
    """What one unit of a stage's progress took."""

    each_s: float
    total: float
    """How many a whole run has."""


class StageRate(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage took with the settings that it ran with."""

    settings: dict[str, Any]
    units: dict[str, UnitRate]
    other_s: float
    """What belongs to no unit; negative where units went on within others."""
    memory_bytes: int | None
    """The most that the process held until its end."""


class Estimate(NamedTuple):
    """What a stage will take, as far as that is known."""

    seconds: float
    memory_bytes: int | None


Rates = dict[str, dict[str, StageRate]]
"""Machine -> stage -> its newest rate."""


class _Unit:
    """The progress of a running stage in one unit."""

    def __init__(self, time_s: float, done: int) -> None:
        self.first = self.second = self.last = (time_s, done)
        self.total = 0

    def add(self, time_s: float, done: int, total: int) -> None:
        self.total = total
        if done > self.last[1]:
            if self.second == self.first:
                self.second = (time_s, done)
            self.last = (time_s, done)

    @property
    def spent_s(self) -> float:
        return self.last[0] - self.first[0]

    @property
    def each_s(self) -> float | None:
        # The first of several waits for what is made once, such as compiled networks.
        begin = self.second if self.last[1] > self.second[1] else self.first
        done = self.last[1] - begin[1]
        return (self.last[0] - begin[0]) / done if done else None


class RateRecorder:
    """A sink that measures the rates of the stages that run."""

    def __init__(self, stages: Sequence[Stage], settings: Settings) -> None:
        """Measure `stages`, which run with `settings`."""
        self._stages = {stage.name: stage for stage in stages}
        self._settings = settings
        self._begin_s = 0.0
        self._units: dict[str, _Unit] = {}
        self._scale: dict[str, float] = {}
        self.rates: dict[str, StageRate] = {}

    def __call__(self, event: Event) -> None:
        """Take one event of a run."""
        fields = event.fields
        match event.kind:
            case "stage_started":
                self._begin_s, self._units, self._scale = event.time_s, {}, {}
            case "played":
                self._scale[fields["unit"]] = fields["total"] / max(1, fields["played"])
            case "progress":
                unit = self._units.setdefault(fields["unit"], _Unit(event.time_s, fields["done"]))
                unit.add(event.time_s, fields["done"], fields["total"])
            case "stage_done" if fields["status"] == "ran" and event.stage in self._stages:
                self.rates[event.stage] = self._rate(self._stages[event.stage], event.time_s)
            case _:
                pass

    def _rate(self, stage: Stage, end_s: float) -> StageRate:
        units, other_s = {}, end_s - self._begin_s
        for name, unit in self._units.items():
            if unit.each_s is None:
                continue
            done = unit.last[1] - unit.first[1]
            other_s -= min(unit.spent_s, done * unit.each_s)
            scale = self._scale.get(name.partition(" (")[0], 1.0)
            units[name] = UnitRate(each_s=unit.each_s, total=unit.total * scale)
        return StageRate(
            settings=_settings_of(stage, self._settings),
            units=units,
            other_s=other_s,
            memory_bytes=machine.peak_memory_bytes(),
        )


def load(home: Path) -> Rates:
    """Return what was measured in a working folder; nothing where no file of that form is."""
    try:
        return stored_files.decode(stored_files.read_bytes(home / RATES_FILE), Rates)
    except (OSError, msgspec.DecodeError):
        return {}  # they only foretell: the next run measures them again


def save(home: Path, measured: Mapping[str, StageRate]) -> None:
    """Add what was measured on this machine; OSError where the folder cannot be written."""
    rates = load(home)
    rates[_machine()] = rates.get(_machine(), {}) | dict(measured)
    write_bytes(home / RATES_FILE, msgspec.json.encode(rates))


def adopt(home: Path, other: Path) -> None:
    """Add what was measured in another working folder by a job with a share of its machine.

    What this folder has of a stage with the same settings stays. OSError as of `save`.
    """
    rates = before = load(home)
    for place, measured in load(other).items():
        own = rates.get(place, {})
        new = {
            name: rate
            for name, rate in measured.items()
            if name not in own or _fixed(own[name].settings) != _fixed(rate.settings)
        }
        rates = rates | {place: own | new} if new else rates
    if rates != before:
        write_bytes(home / RATES_FILE, msgspec.json.encode(rates))


def estimate(stage: Stage, settings: Settings, rates: Rates) -> Estimate | None:
    """Return what a stage will take on this machine, None where nothing like it was measured."""
    rate = rates.get(_machine(), {}).get(stage.name)
    if rate is None:
        return None
    now = _settings_of(stage, settings)
    if _fixed(now) != _fixed(rate.settings):
        return None
    try:
        factors = {
            unit: now[key] / rate.settings[key] for key, unit in _COUNTS.items() if key in now
        }
        seconds = rate.other_s + sum(
            unit.each_s * unit.total * factors.get(name, 1.0) for name, unit in rate.units.items()
        )
    except (ArithmeticError, LookupError, TypeError):
        return None  # a file of that form and with other values foretells nothing
    if not math.isfinite(seconds):
        return None
    return Estimate(max(0.0, seconds), rate.memory_bytes)


def as_fields(estimates: Mapping[str, Estimate | None]) -> dict[str, Any]:
    """Return the fields of an `estimate` event: each stage, and all of them where all are known."""
    known = [item for item in estimates.values() if item is not None]
    memory = [item.memory_bytes for item in known if item.memory_bytes is not None]
    return {
        "stages": {name: item.seconds if item else None for name, item in estimates.items()},
        "seconds": sum(item.seconds for item in known) if len(known) == len(estimates) else None,
        "memory_bytes": max(memory, default=None) if len(known) == len(estimates) else None,
    }


def _settings_of(stage: Stage, settings: Settings) -> dict[str, Any]:
    """Return the settings that decide how long a stage takes, flat, by their dotted names."""
    flat: dict[str, Any] = {}
    for name in (*stage.settings, *_ALSO):
        flat |= _flat(name, msgspec.to_builtins(attrgetter(name)(settings)))
    flat.pop("seed", None)
    return flat


def _flat(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        # As it will be read again, where there are no tuples.
        return {name: list(value) if isinstance(value, tuple) else value}
    return {
        key: leaf for inner in value for key, leaf in _flat(f"{name}.{inner}", value[inner]).items()
    }


def _fixed(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flat.items() if name not in _COUNTS}


@functools.cache
def _machine() -> str:
    return f"{machine.fact('cpu')}, {machine.fact('gpu')}"

"""Rules of the bounds in [gates] and [compare]."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pipeline.errors import did_you_mean
from pipeline.gates import measures
from pipeline.settings import CompareGate, Gate, Settings

KeyPath = tuple[str, ...]


class Fault(NamedTuple):
    """One thing wrong with the settings: the key to blame, what is wrong, what to do."""

    key: KeyPath
    wrong: str
    remedy: str


def broken_rules(settings: Settings) -> Iterator[Fault]:
    """Yield every rule that bounds break."""
    yield from _gate_bounds("gates", settings.gates, measures.MEASURES)
    changes = {name: gate for name, gate in settings.compare.items() if name in measures.CHANGES}
    yield from _changes(changes)
    compared = {name: gate for name, gate in settings.compare.items() if name not in changes}
    yield from _comparisons(compared)
    yield from _gate_bounds("compare", compared, measures.COMPARED)


def _gate_bounds(
    table: str, gates: Mapping[str, Gate], known: Mapping[str, str]
) -> Iterator[Fault]:
    for name, gate in gates.items():
        key = (table, name)
        if name not in known:
            names = {*known, *(measures.CHANGES if table == "compare" else ())}
            guess = did_you_mean(name, names)
            use = f"use one of {', '.join(sorted(names))}"
            yield Fault(key, f"no such measure{guess} ({name})", use)
        elif gate.margin is not None and not measures.is_drop(name):
            wrong = f"only a drop has a margin ({gate.margin:g})"
            yield Fault((*key, "margin"), wrong, "set min or max")
        elif gate.margin is not None and gate.max is not None:
            wrong = f"margin and max say the same twice ({gate.margin:g} and {gate.max:g})"
            yield Fault((*key, "margin"), wrong, "keep one of them")
        elif gate.min is None and gate.most is None:
            yield Fault(key, "has no bound (min and max absent)", "set min or max")
        elif gate.min is not None and gate.most is not None and gate.min > gate.most:
            wrong = f"min is above max ({gate.min:g} > {gate.most:g}), so nothing passes"
            yield Fault((*key, "min"), wrong, "exchange them")
        elif certain := _certain(name, gate):
            yield Fault(key, *certain)
        elif measures.is_resampled(name) and gate.confidence > measures.MOST_RESAMPLED_CONFIDENCE:
            most = f"{measures.MOST_RESAMPLED_CONFIDENCE:g}"
            wrong = f"resampling supports no more than {most} ({gate.confidence:g})"
            yield Fault((*key, "confidence"), wrong, f"set {most} or less")
        elif measures.is_drop(name) and gate.most == 0:
            bound = "max" if gate.max is not None else "margin"
            wrong = "no sample can show that nothing at all is lost (0)"
            remedy = "set the loss that you accept, such as 0.005; below 0 asks for a gain"
            yield Fault((*key, bound), wrong, remedy)


def _certain(name: str, gate: Gate) -> tuple[str, str] | None:
    """Return what is wrong with a bound that no measurement decides, and what to do."""
    bounds = _bounds(gate)
    if measures.is_share(name) and (far := [bound for bound in bounds if abs(bound) > 1]):
        wrong = f"is a share of images, 1 at most ({far[0]:g}), so its verdict is certain"
        return wrong, "divide a percentage by 100"
    if not measures.is_drop(name) and (low := [bound for bound in bounds if bound < 0]):
        wrong = f"is never below 0 ({low[0]:g}), so its verdict is certain"
        return wrong, "set a bound of 0 or more"
    return None


def _comparisons(gates: Mapping[str, CompareGate]) -> Iterator[Fault]:
    """Yield the rules of what is a measure of two runs together."""
    for name, gate in gates.items():
        for field in ("worse_absolute", "worse_relative", "direction"):
            if name in measures.COMPARED and (value := getattr(gate, field)) is not None:
                wrong = f"is for measures of one run, and {name} is of two ({value})"
                yield Fault(("compare", name, field), wrong, "set min or max")


def _changes(gates: Mapping[str, CompareGate]) -> Iterator[Fault]:
    """Yield the rules of bounds on how much worse run B is than run A."""
    for name, gate in gates.items():
        key = ("compare", name)
        values = [(field, getattr(gate, field)) for field in ("min", "max", "margin")]
        for field, value in values:
            if value is not None:
                wrong = f"bounds a value, and a comparison bounds its change ({value:g})"
                remedy = "set worse_absolute or worse_relative, or bound the value in [gates]"
                yield Fault((*key, field), wrong, remedy)
        absolute, relative = gate.worse_absolute, gate.worse_relative
        if absolute is None and relative is None and all(value is None for _, value in values):
            wrong = "has no bound (worse_absolute and worse_relative absent)"
            yield Fault(key, wrong, "set one of them")
        if measures.is_resampled(name) and gate.confidence > measures.MOST_RESAMPLED_CONFIDENCE:
            most = f"{measures.MOST_RESAMPLED_CONFIDENCE:g}"
            wrong = f"resampling supports no more than {most} ({gate.confidence:g})"
            yield Fault((*key, "confidence"), wrong, f"set {most} or less")
        for field, bound in (("worse_absolute", absolute), ("worse_relative", relative)):
            if bound is not None:
                yield from _change_bound(name, field, bound, gate.direction)


def _change_bound(name: str, field: str, bound: float, direction: str | None) -> Iterator[Fault]:
    """Yield the rules of one bound on a change."""
    key = ("compare", name, field)
    is_loss = direction == "higher-is-better" or (
        direction is None and measures.is_higher_better(name)
    )
    if direction == "no-change" and bound < 0:
        wrong = f"nothing changes by less than nothing ({bound:g})"
        yield Fault(key, wrong, "set 0 or more, or remove direction")
    elif bound == 0 and not measures.is_exact(name):
        wrong = "no sample can show that nothing at all is lost (0)"
        remedy = "set the loss that you accept, such as 0.005; below 0 asks for a gain"
        yield Fault(key, wrong, remedy)
    elif field == "worse_absolute" and measures.is_share(name) and abs(bound) > 1:
        wrong = f"is a share of images, 1 at most ({bound:g}), so its verdict is certain"
        yield Fault(key, wrong, "divide a percentage by 100")
    elif field == "worse_relative" and is_loss and bound >= 1:
        wrong = f"nothing loses more than all of its value ({bound:g}), so its verdict is certain"
        yield Fault(key, wrong, "divide a percentage by 100")


def _bounds(gate: Gate) -> list[float]:
    return [bound for bound in (gate.min, gate.most) if bound is not None]

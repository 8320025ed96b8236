"""Rows of sweeps for tests, built from the records that hold them."""

from msgspec.structs import replace

from pipeline.gates.judge import Outcome, Verdict
from pipeline.sweep.pareto import obstacles
from pipeline.sweep.records import Bounded, Loss, Row, State


def gate(verdict: Outcome, name: str = "student_top1_drop", *, warns: bool = False) -> Verdict:
    """Return a verdict on a gate."""
    judged = Verdict(name=name, verdict=verdict, reason="because", value=0.1)
    return replace(judged, severity="warn") if warns else judged


def row(
    number: int,
    *,
    drop: float = 0.1,
    ms: float | None = 1.0,
    size: int | None = 1000,
    gates: tuple[Verdict, ...] = (gate("pass"),),
    state: State = "done",
    images: str = "a",
) -> Row:
    """Return the row of a judged combination; a state but `done` has nothing measured."""
    changes = (f"student.arch=net{number}",)
    if state != "done":
        return Row(number=number, changes=changes, state=state, error=f"{state} for a reason")
    measured = Row(
        number=number,
        changes=changes,
        state=state,
        seconds=12.0,
        loss=Loss(
            value=drop, low=drop - 0.02, high=drop + 0.02,
            kind="top1_drop", network="engine", n=540, images=images,
        ),
        latency_ms=None if ms is None else Bounded(value=ms, low=0.9 * ms, high=1.1 * ms),
        engine_bytes=size,
        engine="onnxruntime fp32",
        params=1234,
        speedup=Bounded(value=3.0, low=2.5, high=3.5),
        gates=gates,
    )  # fmt: skip
    return replace(measured, obstacles=obstacles(measured, is_judged=True))

"""The table [validate], and the bounds of [gates] and [compare]."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.kinds import Confidence, Count, Rate, Table, Weight


class Validate(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accuracy and latency, measured. What is judged is in [gates]."""

    images: Literal["held-out", "bank"] = "held-out"
    """bank: there are no labelled images, so agreement with the teacher on synthetic ones takes the
    place of accuracy; needs teacher.weights"""
    batch_sizes: Annotated[tuple[Count, ...], Meta(min_length=1)] = (1, 32)
    """latency is measured at each of them"""
    pairs: Annotated[int, Meta(ge=20)] = 400
    """interleaved teacher and engine calls at each batch size"""
    processes: Count = 1
    """fresh processes among which the pairs are shared out"""
    process_spread: Weight = 0.01
    """relative standard deviation between processes that is assumed where one process measures
    alone; widens the intervals of latency"""
    warmup_s: Rate = 0.5
    """least warm-up before each measurement"""
    threads: Count = 1
    """CPU threads of teacher and engine alike"""
    first_runs: Annotated[int, Meta(ge=0)] = 6
    """new processes in which the time to the engine's first inference is measured; 5 bound its
    median with a confidence of 0.95, 0: not at all"""
    teacher_engine: bool = True
    """also measure the teacher as an engine of the same backend"""
    pictures: Annotated[int, Meta(ge=0, le=100)] = 24
    """images that student or engine get wrong, worst first, that a run stores for its report; they
    are your held-out images, or synthetic ones of the bank; 0: none"""


class Gate(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on one measured quantity. Changing them measures nothing again."""

    min: float | None = None
    """least value that passes"""
    max: float | None = None
    """largest value that passes"""
    margin: float | None = None
    """for drops, the same as max: the loss that is accepted"""
    confidence: Confidence = 0.95
    """one-sided confidence that a verdict needs"""
    severity: Literal["error", "warn"] = "error"
    """warn: shown, but the exit code ignores it"""

    @property
    def most(self) -> float | None:
        """Return the largest value that passes, None where there is none."""
        return self.max if self.max is not None else self.margin


class CompareGate(Gate, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on one comparison of two runs, or on how much worse run B is than run A."""

    worse_absolute: float | None = None
    """most by which B may be worse, in the measure's unit; below 0 asks for a gain"""
    worse_relative: float | None = None
    """the same as a share of A's value: 0.05 is 5 %"""
    direction: Literal["higher-is-better", "lower-is-better", "no-change"] | None = None
    """which way is better, where it is not the measure's own; no-change bounds both ways"""


DEFAULT_GATES = {
    "student_top1_drop": Gate(max=0.03),
    "engine_top1_drop": Gate(max=0.005),
    "speedup": Gate(min=2.0),
}

DEFAULT_COMPARE = {
    "engine_top1_drop": CompareGate(max=0.01),
    "latency_ratio": CompareGate(max=1.1),
}

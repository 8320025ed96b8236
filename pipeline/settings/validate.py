"""The tables [validate], [gates] and [compare]: what is measured and how it is judged."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.kinds import Confidence, Count, Rate, Table, Weight


class Validate(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accuracy and latency, measured. What is judged is in [gates]."""

    images: Annotated[
        Literal["held-out", "bank"],
        Meta(
            description="bank: there are no labelled images, so agreement with the teacher on "
            "synthetic ones takes the place of accuracy; needs teacher.weights"
        ),
    ] = "held-out"
    batch_sizes: Annotated[
        tuple[Count, ...], Meta(min_length=1, description="latency is measured at each of them")
    ] = (1, 32)
    pairs: Annotated[
        int, Meta(ge=20, description="interleaved teacher and engine calls at each batch size")
    ] = 400
    processes: Annotated[
        Count, Meta(description="fresh processes among which the pairs are shared out")
    ] = 1
    process_spread: Annotated[
        Weight,
        Meta(
            description="relative standard deviation between processes that is assumed where one "
            "process measures alone; widens the intervals of latency"
        ),
    ] = 0.01
    warmup_s: Annotated[Rate, Meta(description="least warm-up before each measurement")] = 0.5
    threads: Annotated[Count, Meta(description="CPU threads of teacher and engine alike")] = 1
    teacher_engine: Annotated[
        bool, Meta(description="also measure the teacher as an engine of the same backend")
    ] = True


class Gate(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on one measured quantity. Changing them measures nothing again."""

    min: Annotated[float | None, Meta(description="least value that passes")] = None
    max: Annotated[float | None, Meta(description="largest value that passes")] = None
    margin: Annotated[
        float | None, Meta(description="for drops, the same as max: the loss that is accepted")
    ] = None
    confidence: Annotated[
        Confidence, Meta(description="one-sided confidence that a verdict needs")
    ] = 0.95
    severity: Annotated[
        Literal["error", "warn"], Meta(description="warn: shown, but the exit code ignores it")
    ] = "error"

    @property
    def most(self) -> float | None:
        """Return the largest value that passes, None where there is none."""
        return self.max if self.max is not None else self.margin


DEFAULT_GATES = {
    "student_top1_drop": Gate(max=0.03),
    "engine_top1_drop": Gate(max=0.005),
    "speedup": Gate(min=2.0),
}

DEFAULT_COMPARE = {
    "engine_top1_drop": Gate(max=0.01),
    "latency_ratio": Gate(max=1.1),
}

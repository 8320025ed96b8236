"""The tables [validate] and [gates]: what is measured and how it is judged."""

from typing import Annotated

from msgspec import Meta

from pipeline.settings.kinds import Confidence, Count, Rate, Table


class Validate(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accuracy and latency, measured. What is judged is in [gates]."""

    batch_sizes: Annotated[
        tuple[Count, ...], Meta(min_length=1, description="latency is measured at each of them")
    ] = (1, 32)
    pairs: Annotated[
        int, Meta(ge=20, description="interleaved teacher and engine calls at each batch size")
    ] = 400
    warmup_s: Annotated[Rate, Meta(description="least warm-up before each measurement")] = 0.5
    threads: Annotated[Count, Meta(description="CPU threads of teacher and engine alike")] = 1


class Gate(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on one measured quantity. Changing them measures nothing again."""

    min: Annotated[float, Meta(description="least value that passes")] | None = None
    max: Annotated[float, Meta(description="largest value that passes")] | None = None
    confidence: Annotated[
        Confidence, Meta(description="one-sided confidence that a verdict needs")
    ] = 0.95


DEFAULT_GATES = {
    "student_top1_drop": Gate(max=0.03),
    "engine_top1_drop": Gate(max=0.005),
    "speedup": Gate(min=2.0),
}

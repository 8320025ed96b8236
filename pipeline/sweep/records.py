"""What a sweep leaves, as records: `sweep.json`, from which its page is made as well.

Fractions are 0 to 1, times are seconds unless the name says `_ms`. A field whose default is None,
empty or False is absent from the JSON where it is that.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from pipeline.gates.judge import Verdict

SCHEMA = "madpipe.sweep/1"

CONFIDENCE = 0.95
"""One-sided, of all bounds that a sweep shows."""

Cost = Literal["latency", "bytes"]
"""What the loss is weighed against in a front."""
COSTS: tuple[Cost, ...] = ("latency", "bytes")

State = Literal["done", "failed", "unfinished"]


class Bounded(Struct, frozen=True, kw_only=True):
    """A measured value between its one-sided bounds."""

    value: float
    low: float
    high: float


class Loss(Bounded, frozen=True, kw_only=True):
    """What a network lost against the teacher on the same images; negative where it gained."""

    kind: Literal["top1_drop", "bank_disagreement"]
    """`top1_drop`: the teacher's top-1 less the network's. `bank_disagreement`: without labelled
    images, the share of synthetic ones on which the network predicts another class."""
    network: str
    """engine, or the student where no engine ran here."""
    n: int
    images: str
    """Id of the images; losses on others cannot be compared."""


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One combination, and what became of it."""

    number: int
    changes: tuple[str, ...]
    """`KEY=VALUE` of each axis."""
    state: State
    error: str = ""
    """Why it failed, or that it is unfinished."""
    seconds: float = 0.0
    """What its stages took, when they ran."""
    figures: Mapping[str, Any] = {}
    """Of the last stage of the sweep."""
    loss: Loss | None = None
    latency_ms: Bounded | None = None
    """Median of the engine at batch size 1, else at the first."""
    engine_bytes: int | None = None
    engine: str = ""
    """Its backend and precision."""
    params: int | None = None
    """Of the student."""
    speedup: Bounded | None = None
    """Over the teacher in torch, measured in turns with it."""
    noise: tuple[str, ...] = ()
    """What may have made the latency noisy."""
    gates: tuple[Verdict, ...] = ()
    fronts: tuple[Cost, ...] = ()
    """The fronts that it is on: no other one loses less and costs less."""
    obstacles: tuple[str, ...] = ()
    """Why it is not admissible."""

    @property
    def is_admissible(self) -> bool:
        """Whether it is done, was judged, and passed every gate that does not only warn."""
        return self.state == "done" and not self.obstacles

    def cost(self, name: Cost) -> float | None:
        """Return the latency in ms or the bytes of its engine, None where not measured."""
        if name == "bytes":
            return self.engine_bytes
        return self.latency_ms.value if self.latency_ms else None


class Sweep(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag=SCHEMA):
    """A sweep: its combinations, and the smallest one that passes."""

    command: str
    started_utc: str
    elapsed_s: float
    stage: str
    """The last stage that was run."""
    is_judged: bool
    """Whether the stage is the one after which gates judge."""
    rows: tuple[Row, ...]
    smallest: int | None = None
    """Number of the smallest admissible combination."""
    options: str | None = None
    """The options that select it, quoted for a shell."""
    notes: tuple[str, ...] = ()
    is_interrupted: bool = False
    environment: Mapping[str, str] = {}

    def row(self, number: int) -> Row:
        """Return a combination by its number."""
        return next(row for row in self.rows if row.number == number)


def to_json(sweep: Sweep) -> str:
    """Return a sweep as readable JSON."""
    return msgspec.json.format(msgspec.json.encode(sweep), indent=2).decode()

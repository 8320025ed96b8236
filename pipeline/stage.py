"""The one abstraction: a stage, declared light and run heavy.

A `Stage` says what a step reads, what it leaves and where its code lives; it imports none of
that code. A `Context` is all that the running code may touch: what was not declared, and so is
not in the key, cannot be reached through it. Knows nothing of the screen, the store or torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

import msgspec

from pipeline.checkpoint import Checkpoints
from pipeline.errors import Interrupted, StageError, UndeclaredAccess
from pipeline.requirements import Requirement
from pipeline.settings import Settings
from pipeline.texts import printable

__all__ = ["Context", "External", "OnNote", "Stage", "StageError", "no_note"]

OnNote = Callable[[str], None]
"""Called with one thing that the user should know."""


def no_note(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """A file or folder from outside the store that a stage reads."""

    path: Path
    needed_by: str
    """The settings key that names it, for the message when it is missing."""
    remedy: str = "put it there or correct the path"
    """What to do when it is missing."""
    fetch: str | None = None
    """`module:function` that brings the file, or fills the folder, before anything is planned,
    called as `function(settings, path)` and imported only when needed; no part of a key."""
    fetched: tuple[str, ...] = ()
    """Names in a folder; where one is there, nothing is to be fetched."""
    counts: Callable[[str], bool] | None = None
    """Whether what has this name in a folder can change a result; folders end in a slash. None: all
    of them can."""
    is_path: bool = False
    """Whether its setting says where it is and nothing else, and so is no part of a key."""

    @property
    def is_fetched(self) -> bool:
        """Whether nothing is to be fetched."""
        return any((self.path / name).exists() for name in self.fetched or ("",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A declared step. Everything here but `requires` is part of its key."""

    name: str
    run: str
    """`module:function`, called as `function(ctx)`; imported only when the stage has to run."""
    outputs: Mapping[str, str]
    """Name of an output -> name of its file."""
    settings: tuple[str, ...] = ()
    """Dotted slices of the settings: `seed`, `distill`, `data.source`."""
    inputs: tuple[str, ...] = ()
    """Outputs of earlier stages, as `stage/output`."""
    externals: Mapping[str, External] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    """What the declaration found out and the code needs, as JSON has it; by its name."""
    packages: tuple[str, ...] = ()
    """Distributions whose versions decide the result."""
    facts: tuple[str, ...] = ()
    """Facts of the machine that decide the result; names as in `pipeline.machine`."""
    code: tuple[str, ...] = ()
    """Modules reached by name at run time, such as a backend."""
    requires: tuple[Requirement, ...] = ()
    """What must be present for the stage to run."""

    @property
    def sources(self) -> frozenset[str]:
        """The stages whose outputs it reads."""
        return frozenset(name.partition("/")[0] for name in self.inputs)


class Context:
    """What a running stage may touch, and nothing else."""

    def __init__(
        self,
        *,
        stage: Stage,
        settings: Settings,
        inputs: Mapping[str, Path],
        out: Path,
        checkpoints: Checkpoints,
        emit: Callable[[str, Mapping[str, Any]], None],
        stop_asked: Callable[[], bool],
        cache: Path | None = None,
        is_smoke: bool = False,
    ) -> None:
        """Bind the declaration to real paths; only the runner does."""
        self.settings = cast("Settings", _DeclaredSettings(settings, stage))
        self.checkpoints = checkpoints
        self.cache = cache
        """A folder for what only saves time and outlives the stage; it may not be there yet."""
        self.is_smoke = is_smoke
        """Whether a few of everything are played to see that all works, and nothing is judged."""
        self.metrics: dict[str, Any] = {}
        self._stage = stage
        self._inputs = inputs
        self._out = out
        self._emit = emit
        self._stop_asked = stop_asked

    def input(self, name: str) -> Path:
        """Return the path of the declared input `stage/output`; UndeclaredAccess for another."""
        if name not in self._inputs:
            _refuse(self._stage, "input", name)
        return self._inputs[name]

    def has_input(self, name: str) -> bool:
        """Return whether the input `stage/output` is declared, which some settings alone do."""
        return name in self._inputs

    def external(self, name: str) -> Path | None:
        """Return the path of a declared external, or None where the settings name none."""
        external = self._stage.externals.get(name)
        return external.path if external else None

    def value(self, name: str) -> Any | None:
        """Return a declared value, or None where the declaration has none of this name."""
        return self._stage.values.get(name)

    def output(self, name: str) -> Path:
        """Return the path to write a declared output to; UndeclaredAccess for another."""
        if name not in self._stage.outputs:
            _refuse(self._stage, "output", name)
        return self._out / self._stage.outputs[name]

    def has_output(self, name: str) -> bool:
        """Return whether an output is declared, which some settings alone do."""
        return name in self._stage.outputs

    def metric(self, name: str, value: float | int | str) -> None:
        """Record a figure of the result; it is stored, displayed and reported."""
        self.metrics[name] = value
        self._emit("metric", {"name": name, "value": value})

    def progress(self, done: int, total: int, unit: str, **figures: float) -> None:
        """Report how far the stage is, with figures worth watching.

        Raises:
            Interrupted: A stop was asked for and nothing would be lost by stopping here;
                a stage with checkpoints calls `checkpoints.keep` first.
        """
        self._emit("progress", {"done": done, "total": total, "unit": unit} | figures)
        if self._stop_asked():
            raise Interrupted(self._stage.name, "interrupted", "the same command goes on from here")

    def point(self, step: int, unit: str, figures: Mapping[str, float]) -> None:
        """Report a point of each curve of a training, `step` units after its start."""
        self._emit("point", {"step": step, "unit": unit, "figures": dict(figures)})

    def picture(self, name: str, step: int, write: Callable[[Path], None]) -> None:
        """Show a PNG that `write` leaves at the path that it gets, for those who follow the run.

        It is no output: the next of its name takes its place, and none outlives the stage.
        """
        path = self._out.parent / "pictures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        write(path)
        self._emit("picture", {"name": name, "step": step, "path": str(path)})

    def play(self, total: int, unit: str, *, few: int) -> int:
        """Return how many of `total` to do: all, or in a smoke run a few of them.

        `unit` is that of the progress that will be reported, from which the time of all follows.
        """
        if not self.is_smoke:
            return total
        played = min(few, total)
        self._emit("played", {"played": played, "total": total, "unit": unit})
        return played

    def note(self, text: str) -> None:
        """Report one thing that the user should know."""
        self._emit("note", {"text": printable(text)})


@dataclass(frozen=True)
class _DeclaredSettings:
    """A read-only view of a settings table that raises for what the stage did not declare."""

    _table: msgspec.Struct
    _stage: Stage
    _prefix: str = ""

    def __getattr__(self, name: str) -> object:
        dotted = self._prefix + name
        value: object = getattr(self._table, name)
        if dotted in self._stage.settings:
            return value
        if any(name.startswith(dotted + ".") for name in self._stage.settings):
            return _DeclaredSettings(cast("msgspec.Struct", value), self._stage, dotted + ".")
        return _refuse(self._stage, "setting", dotted)


def _refuse(stage: Stage, kind: str, name: str) -> NoReturn:
    wrong = f"asked for a {kind} that its declaration does not name ({name})"
    remedy = f"declare it, so that it becomes part of the key: {kind}s={name!r}"
    raise UndeclaredAccess(f"stage {stage.name}", wrong, remedy)

"""Every setting, and another valid value of it, made from the types of the settings.

A setting that is added is found by itself; where no other value of it can be made, its case fails
and asks for one in `VALUES`.
"""

import itertools
import json
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from pipeline.errors import ConfigError, UnavailableError
from pipeline.project import Project
from pipeline.settings import Settings, Table
from stages.catalog import declare
from stages.completed_settings import complete

VALUES: dict[str, tuple[Any, ...]] = {
    "data.root": ("elsewhere",),
    "data.labels": ("labels.csv",),
    "data.classes": ("natural",),
    "data.mean": ([0.25],),
    "data.std": ([0.25],),
    "data.resize_px": (64,),
    "data.image_size_px": (16,),
    "teacher.arch": ("resnet20",),
    "teacher.weights": ("other.safetensors",),
    "student.arch": ("resnet14",),
    "student.weights": ("other.safetensors",),
    "distill.images": ("photos",),
    "distill.batch_size": (32,),
    "distill.compile": ("off", "on"),
    "build.targets": (["sm89"],),
    "build.backend": ("openvino",),
    "build.device": ("cpu",),
    "build.float_layers": (["first"],),
    "build.output": ("logits",),
    "build.image_size_px": (16,),
    "cache.remote": ("shared",),
    "validate.batch_sizes": ([2],),
    "track.to": (["tensorboard"],),
    "track.folder": ("runs",),
}
"""Values of settings whose type does not say what they may be, or says too little."""
COMPANIONS: dict[str, tuple[str, ...]] = {
    "data.source": ('data.root="photos"',),
    "data.mean": ("data.mean=[0.5]", "data.std=[0.5]"),
    "data.std": ("data.mean=[0.5]", "data.std=[0.5]"),
    "distill.delta": ('distill.generator="sum"',),
    "distill.lambda2": ('distill.images="photos"',),
    "distill.small_rounds": ("distill.enlarge=2",),
    "distill.processes": ('distill.method="mad"',),
    "distill.joint_batch": ('distill.method="mad"',),
    "build.targets": ('build.backend="tensorrt-rtx"',),
    "build.ep_context": ('build.device="cuda-tensorrt"',),
    "cache.push": ('cache.remote="shared"',),
    "build.int8": ('build.precision="int8"',),
}
"""What else has to be set for a setting to be allowed, before and after its change."""
_BOUNDS = (
    "gates.student_top1_drop={max = 0.5}",
    "gates.student_top1_drop={margin = 0.03}",
    "gates.student_top1_drop={max = 0.03, confidence = 0.9}",
    'gates.student_top1_drop={max = 0.03, severity = "warn"}',
    "gates.speedup={min = 0.5}",
    "compare.latency_ratio={max = 3.0}",
    "compare.student_top1={worse_absolute = 0.5}",
    "compare.student_top1={worse_relative = 0.5}",
    'compare.student_top1={worse_absolute = 0.5, direction = "no-change"}',
)
"""Bounds, which are no fields of the settings' own types."""


class Change(NamedTuple):
    """A setting and what is set before and after its change."""

    setting: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def names() -> list[str]:
    """Return the dotted names of all settings."""
    return [name for name, _, _ in _fields(Settings, Settings(), "")]


def bounds() -> list[Change]:
    """Return changes of bounds in [gates] and [compare]."""
    return [Change(bound.partition("=")[0], (), (bound,)) for bound in _BOUNDS]


def change_of(setting: str, folder: Path, base: Sequence[str] = ()) -> Change | Settings | None:
    """Return a change of a setting that the project in `folder` allows.

    Where its rules allow none, the settings with another value of its type, which no file can
    hold; None where even that cannot be made.
    """
    before = (*base, *COMPANIONS.get(setting, ()))
    opened = Project.open(folder / "pipeline.toml", before, declare, complete)
    values = [*_values(setting, opened.settings)]
    for value in values:
        after = (*before, f"{setting}={_toml(value)}")
        try:
            Project.open(folder / "pipeline.toml", after, declare, complete)
        except (ConfigError, UnavailableError):
            continue
        return Change(setting, before, after)
    return _with_value(opened.settings, setting.split("."), values[0]) if values else None


def _with_value(table: Any, path: Sequence[str], value: Any) -> Any:
    inner = value
    if len(path) > 1:
        inner = _with_value(getattr(table, path[0]), path[1:], value)
    return msgspec.structs.replace(table, **{path[0]: inner})


def _toml(value: Any) -> str:
    return json.dumps(value)


def _fields(kind: type, table: Any, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield dotted name, type and default of every setting."""
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        value = getattr(table, name)
        if isinstance(hint, type) and issubclass(hint, Table):
            yield from _fields(hint, value, f"{prefix}{name}.")
        elif typing.get_origin(hint) is not dict:  # bounds, see `bounds`
            yield f"{prefix}{name}", hint, value


def _values(setting: str, settings: Settings) -> Iterator[Any]:
    """Yield other values of a setting than it has."""
    _, hint, _ = next(field for field in _fields(Settings, settings, "") if field[0] == setting)
    now: Any = settings
    for name in setting.split("."):
        now = getattr(now, name)
    values = itertools.chain(VALUES.get(setting, ()), _of_type(hint, now))
    yield from (value for value in values if value != msgspec.to_builtins(now))


def _of_type(hint: Any, now: Any) -> Iterator[Any]:
    """Yield values that a type may have; bounds are left to the settings' own checks."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        yield from _of_type(typing.get_args(hint)[0], now)
    elif origin is Literal:
        yield from typing.get_args(hint)
    elif origin in (typing.Union, types.UnionType):
        for inner in typing.get_args(hint):
            yield from _of_type(inner, now)
    elif hint is bool:
        yield not now
    elif hint is int:
        count = now if isinstance(now, int) else 0
        yield from (count + 1, count * 2, count - 1, 2, 8, 20, 32)
    elif hint is float:
        number = float(now) if isinstance(now, int | float) else 0.0
        yield from (number / 2, number + 0.25, 0.5, 1.0, 2.0, 0.0)
    elif hint is str:
        yield f"{now or 'an'}-other"

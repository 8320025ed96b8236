"""The settings: one frozen record for each table of pipeline.toml.

The type of a field carries its bounds, and the sentence below documents it; pipeline.toml is
rendered from both, so a default and its description live here and nowhere else.
Knows nothing of files: reading and fault reports are in `pipeline.config.load`.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.settings.deployment import (
    DEFAULT_COMPARE,
    DEFAULT_GATES,
    BackendName,
    Build,
    DeviceName,
    Export,
    Gate,
    InputName,
    PrecisionName,
    TensorRT,
    Validate,
)
from pipeline.settings.training import Data, Distill, SourceName, Student, Table, Teacher, Weight

__all__ = [
    "DEFAULT_COMPARE",
    "DEFAULT_GATES",
    "BackendName",
    "Build",
    "Data",
    "DeviceName",
    "Distill",
    "Export",
    "Gate",
    "InputName",
    "PrecisionName",
    "Run",
    "Settings",
    "SourceName",
    "Student",
    "Table",
    "Teacher",
    "TensorRT",
    "Validate",
]


class Run(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to run, none of which changes a result or is part of a key."""

    checkpoint_every_s: Weight = 15.0
    """seconds between checkpoints of teacher and distill"""
    lock_wait_s: Weight = 3600.0
    """how long to wait for another process on the working folder"""


class Settings(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of pipeline.toml."""

    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    """of every random choice but the digits' fixed split"""
    data: Data = Data()
    teacher: Teacher = Teacher()
    student: Student = Student()
    distill: Distill = Distill()
    export: Export = Export()
    build: Build = Build()
    validate: Validate = Validate()
    run: Run = Run()
    gates: dict[str, Gate] = msgspec.field(default_factory=lambda: dict(DEFAULT_GATES))
    compare: dict[str, Gate] = msgspec.field(default_factory=lambda: dict(DEFAULT_COMPARE))

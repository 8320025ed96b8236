"""All of pipeline.toml, and the table [run]."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.settings.bank import Bank
from pipeline.settings.build import Build, Export
from pipeline.settings.cache import Cache
from pipeline.settings.data import Data
from pipeline.settings.distill import Distill
from pipeline.settings.kinds import Table, Weight
from pipeline.settings.teacher import Student, Teacher
from pipeline.settings.track import Track
from pipeline.settings.validate import DEFAULT_COMPARE, DEFAULT_GATES, CompareGate, Gate, Validate


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
    bank: Bank = Bank()
    export: Export = Export()
    build: Build = Build()
    validate: Validate = Validate()
    run: Run = Run()
    cache: Cache = Cache()
    track: Track = Track()
    gates: dict[str, Gate] = msgspec.field(default_factory=lambda: dict(DEFAULT_GATES))
    compare: dict[str, CompareGate] = msgspec.field(default_factory=lambda: dict(DEFAULT_COMPARE))

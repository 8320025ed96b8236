"""All of pipeline.toml as one record."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.settings.data import Data
from pipeline.settings.distill import Distill
from pipeline.settings.engine import Build, Export
from pipeline.settings.judging import DEFAULT_COMPARE, DEFAULT_GATES, Gate, Validate
from pipeline.settings.kinds import Table
from pipeline.settings.networks import Student, Teacher
from pipeline.settings.running import Run


class Settings(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of pipeline.toml."""

    seed: Annotated[
        int, Meta(ge=0, lt=2**32, description="of every random choice but the digits' fixed split")
    ] = 0
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

"""The settings: one frozen record for each table of pipeline.toml.

The type of a field carries its bounds, and the sentence below documents it; pipeline.toml is
rendered from both, so a default and its description live here and nowhere else.
Knows nothing of files: reading and fault reports are in `pipeline.config.load`.
"""

from pipeline.settings.bank import Bank
from pipeline.settings.build import (
    BackendName,
    Build,
    DeviceName,
    Export,
    InputName,
    PrecisionName,
    TensorRT,
)
from pipeline.settings.cache import Cache
from pipeline.settings.data import Data, SourceName
from pipeline.settings.distill import Distill
from pipeline.settings.kinds import Table
from pipeline.settings.root import Run, Settings
from pipeline.settings.teacher import Student, Teacher
from pipeline.settings.track import Track, TrackerName
from pipeline.settings.validate import DEFAULT_COMPARE, DEFAULT_GATES, CompareGate, Gate, Validate

__all__ = [
    "DEFAULT_COMPARE",
    "DEFAULT_GATES",
    "BackendName",
    "Bank",
    "Build",
    "Cache",
    "CompareGate",
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
    "Track",
    "TrackerName",
    "Validate",
]

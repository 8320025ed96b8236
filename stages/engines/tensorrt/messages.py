"""What passes between a build and its child process: a request in, lines of JSON out."""

from typing import Any, Literal, TypedDict

import msgspec

from pipeline.errors import MadpipeError, UnavailableError
from pipeline.settings import TensorRT
from pipeline.stage import StageError


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """All that the child process is told."""

    backend: str
    onnx: str
    engine: str
    precision: str
    targets: tuple[str, ...]
    settings: TensorRT
    timing_cache: str | None
    """A file that is read before and written after the build; None: keep nothing."""


class Built(TypedDict, total=False):
    """What a finished build adds to the manifest; names as in `EngineManifest`."""

    targets: tuple[str, ...]
    gpu: str
    compute_capability: str
    driver: str
    settings: dict[str, Any]
    weights_bytes: dict[str, int]
    layer_types: dict[str, int]
    layers: str


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line from the child."""

    kind: Literal["progress", "failed", "built"]
    percent: int = 0
    exit_code: int = 1
    message: str = ""
    layer_types: dict[str, int] = {}
    layers: str = ""


def as_error(line: Line) -> MadpipeError:
    """Return the error that a line tells of, with the words it had in the child."""
    kind = UnavailableError if line.exit_code == UnavailableError.exit_code else StageError
    place, _, rest = line.message.partition(": ")
    wrong, _, remedy = rest.rpartition("; ")
    return kind(place, wrong, remedy)

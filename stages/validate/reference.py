"""The teacher as an engine of the same backend, so that distillation is told from the runtime."""

from pathlib import Path

from models.classifier import Classifier
from pipeline.errors import MadpipeError, UnavailableError, error_summary
from pipeline.gates.build_records import EngineManifest
from pipeline.stage import StageError
from stages.engines import selection
from stages.engines.base import BACKENDS, BuildRequest
from stages.networks.card import Card
from stages.onnxgraph import io as onnx_io

PRECISION = "fp32"


def build(
    teacher: Classifier, card: Card, like: EngineManifest, folder: Path, *, opset: int
) -> Path:
    """Build the teacher as an fp32 engine of the backend and device of `like`; return its path.

    Raises:
        CannotBuild: The backend cannot; the text says why.
    """
    onnx = folder / "teacher.onnx"
    engine = folder / ("teacher-" + BACKENDS[like.backend].engine_file)
    try:
        onnx_io.save(onnx_io.convert(teacher, card, opset=opset), onnx)
        request = BuildRequest(onnx=onnx, engine=engine, device=like.device, precision=PRECISION)
        selection.backend(like.backend).build(request)
    except (StageError, UnavailableError) as error:
        raise CannotBuild(
            "validate", f"the teacher makes no engine of {like.backend} ({error})", "none needed"
        ) from error
    except Exception as error:  # the exporter may raise anything on a user's network
        raise CannotBuild(
            "validate",
            f"the teacher makes no engine of {like.backend} ({error_summary(error)})",
            "none needed",
        ) from error
    return engine


class CannotBuild(MadpipeError):
    """The teacher cannot be built as an engine, which leaves one figure out and is no failure."""

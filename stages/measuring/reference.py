"""The teacher as an engine of the same backend, so that distillation is told from the runtime."""

from pathlib import Path

from models.classifier import Classifier
from pipeline.errors import MadpipeError, UnavailableError
from pipeline.stage import StageError
from stages import onnxfile
from stages.card import Card
from stages.engines import resolve
from stages.engines.base import BACKENDS, EngineManifest, Order

PRECISION = "fp32"


def build(
    teacher: Classifier, card: Card, like: EngineManifest, folder: Path, *, opset: int
) -> Path:
    """Build the teacher as an fp32 engine of the backend and device of `like`; return its path.

    Raises:
        Unbuildable: The backend cannot; the text says why.
    """
    onnx = folder / "teacher.onnx"
    engine = folder / ("teacher-" + BACKENDS[like.backend].engine_file)
    try:
        onnxfile.save(onnxfile.convert(teacher, card, opset=opset), onnx)
        order = Order(onnx=onnx, engine=engine, device=like.device, precision=PRECISION)
        resolve.backend(like.backend).build(order)
    except (StageError, UnavailableError) as error:
        raise Unbuildable(
            "validate", f"the teacher makes no engine of {like.backend} ({error})", "none needed"
        ) from error
    except Exception as error:  # the exporter may raise anything on a user's network
        first = (str(error).splitlines() or [""])[0]
        raise Unbuildable(
            "validate",
            f"the teacher makes no engine of {like.backend} ({type(error).__name__}: {first})",
            "none needed",
        ) from error
    return engine


class Unbuildable(MadpipeError):
    """The teacher cannot be built as an engine, which leaves one figure out and is no failure."""

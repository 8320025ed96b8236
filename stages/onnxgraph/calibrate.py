"""Calibration: the ranges of a graph's activations over images, by onnxruntime's calibrators.

Shape legend: N images, B batch, C channel, H W space.
"""

import contextlib
import io
import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationMethod

from pipeline import library_logs
from pipeline.atomic import scratch_folder
from pipeline.errors import MadpipeError, StageError, first_line
from stages.engines.base import OnProgress, no_progress, to_model_input
from stages.image_bank import Images

METHODS = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "percentile": (CalibrationMethod.Percentile, {"percentile": 99.99, "symmetric": False}),
    "entropy": (CalibrationMethod.Entropy, {}),
    "distribution": (CalibrationMethod.Distribution, {}),
}
_BATCH = 32
_BATCH_VALUES = _BATCH * 3 * 64 * 64
"""Of the images of a batch: of 224 pixels two, since the tools copy all activations twice."""


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """One batch of images, as the calibrators read it."""

    def __init__(self, name: str, x: NDArray[Any]) -> None:
        self._batches = iter([{name: x}])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next feed, None at the end."""
        return next(self._batches, None)


def activation_ranges(
    model: ModelProto,
    images_NCHW: Images,
    method: str,
    ops: tuple[str, ...],
    *,
    on_progress: OnProgress = no_progress,
) -> Any:
    """Return the ranges of the tensors around the named operators, as onnxruntime holds them.

    Batch by batch, so that memory holds the activations of few images at a time.

    Args:
        model: A float model with one input.
        images_NCHW: In [0, 1], whatever the graph takes.
        method: A name in `METHODS`.
        ops: Operator types.
        on_progress: Called with how many images are done.

    Raises:
        StageError: The method finds no ranges for these activations.
    """
    calibration_method, options = METHODS[method]
    name = model.graph.input[0].name
    is_bytes = model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    with scratch_folder() as folder, quiet():
        path = folder / "model.onnx"
        onnx.save(model, str(path))
        try:
            calibrator = quantization.create_calibrator(
                path,
                list(ops),
                str(folder / "augmented.onnx"),
                calibration_method,
                extra_options=options,
            )
            count, batch = len(images_NCHW), batch_size(math.prod(images_NCHW.shape[1:]))
            for first in range(0, count, batch):
                on_progress(first, count, "images calibrated")
                x_BCHW = np.asarray(images_NCHW[first : first + batch])
                calibrator.collect_data(_Reader(name, to_model_input(x_BCHW, is_bytes=is_bytes)))
            on_progress(count, count, "images calibrated")
            return calibrator.compute_data()
        except MadpipeError:
            raise  # somebody asked to stop
        except Exception as error:  # the tool's and numpy's, of several classes
            raise StageError(
                "build.calibration_method",
                f"{method} finds no ranges of the activations ({first_line(error)})",
                'try "minmax", other images, or another precision',
            ) from error


def batch_size(values: int) -> int:
    """Return how many images of so many values go through a graph at a time."""
    return min(_BATCH, max(1, _BATCH_VALUES // values))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the tools' advice, printed and logged, off the screen."""
    with library_logs.switched_off(logging.WARNING), contextlib.redirect_stdout(io.StringIO()):
        yield

"""The ranges of activations over calibration images, by onnxruntime's calibrators.

Shape legend: N images, C channel, H W space.
"""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationMethod

METHODS = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "percentile": (CalibrationMethod.Percentile, {"percentile": 99.99, "symmetric": False}),
    "entropy": (CalibrationMethod.Entropy, {}),
    "distribution": (CalibrationMethod.Distribution, {}),
}
_BATCH = 32


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """One batch of images, as the calibrators ask for it."""

    def __init__(self, name: str, x_NCHW: NDArray[Any]) -> None:
        self._batches = iter([{name: x_NCHW}])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next feed, None at the end."""
        return next(self._batches, None)


def measure(model: ModelProto, images_NCHW: NDArray[Any], method: str, ops: tuple[str, ...]) -> Any:
    """Return the ranges of the tensors around the named operators, as onnxruntime holds them.

    Batch by batch, so that memory holds the activations of few images at a time.

    Args:
        model: A float model with one input.
        images_NCHW: What the graph takes.
        method: A name in `METHODS`.
        ops: Operator types.
    """
    kind, options = METHODS[method]
    name = model.graph.input[0].name
    with TemporaryDirectory(prefix="madpipe-") as folder, quiet():
        path = Path(folder) / "model.onnx"
        onnx.save(model, str(path))
        calibrator = quantization.create_calibrator(
            path, list(ops), str(Path(folder) / "augmented.onnx"), kind, extra_options=options
        )
        for first in range(0, len(images_NCHW), _BATCH):
            calibrator.collect_data(_Reader(name, images_NCHW[first : first + _BATCH]))
        return calibrator.compute_data()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the tools' advice, printed and logged, off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)

"""A look at what a foreign ONNX file gives, before anything is built from it.

Shape legend: B batch, C channel, H W space, K classes.
"""

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from pipeline.settings import Build
from pipeline.stage import StageError
from stages.build.agreement import relative_difference
from stages.engines.ort import OrtSession
from stages.onnxgraph import intake, rewrite
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.intake import Intake
from stages.onnxgraph.rewrite import PLACE

_IMAGES = 3
_MAX_BATCH_DIFFERENCE = 0.01
"""Share of the spread of the logits; far above what rounding gives."""


def examine(read: Intake, options: Build) -> Intake:
    """Return the model with logits of shape NK, after running random images through it.

    What ONNX Runtime has no kernels for is still built by another backend that is named, with a
    word that it was compared with nothing.

    Raises:
        StageError: Its outputs are no logits or not finite, or an image's depend on the others.
    """
    model = read.model
    x_BCHW = random_images(model)
    try:
        session = OrtSession(model.SerializeToString())
    except StageError as error:
        is_known = onnx_io.has_known_output(model)
        if options.backend in ("auto", "onnxruntime") or not is_known:
            raise
        fitted, changes = intake.fit_output(model)
        unchecked = f"it was built unchecked, since ONNX Runtime does not run it ({error.wrong})"
        return Intake(fitted, (*read.changes, *changes, unchecked), read.is_quantized)
    try:
        single = [session.infer(np.ascontiguousarray(x_1CHW[None])) for x_1CHW in x_BCHW]
    except StageError as error:
        wrong = f"does not run ({error.wrong})"
        raise StageError(PLACE, wrong, "export it anew, with a dynamic batch") from error
    _set_output_shape(model, single[0].shape)
    fitted, changes = intake.fit_output(model)
    _check(session, x_BCHW, np.concatenate(single), read)
    return Intake(fitted, (*read.changes, *changes), read.is_quantized)


def random_images(model: ModelProto) -> NDArray[np.float32]:
    """Return a few random images in [0, 1], of shape BCHW, that a model takes."""
    shape = (_IMAGES, *onnx_io.image_shape(model))
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def _set_output_shape(model: ModelProto, shape: tuple[int, ...]) -> None:
    """Let the model say what its output has been seen to be, where it says otherwise."""
    dims = model.graph.output[0].type.tensor_type.shape.dim
    if [dim.dim_value for dim in dims][1:] == list(shape[1:]):
        return
    del dims[:]
    for number, size in enumerate(shape):
        if number == 0:
            dims.add(dim_param=rewrite.BATCH)
        else:
            dims.add(dim_value=size)


def _check(
    session: OrtSession, x_BCHW: NDArray[np.float32], single: NDArray[np.float32], read: Intake
) -> None:
    """Make sure that outputs are finite and those of an image do not depend on the batch."""
    if not np.isfinite(single).all():
        raise StageError(
            PLACE,
            "gives outputs that are not finite (nan or inf for random images)",
            "check its weights",
        )
    shape = f"{len(x_BCHW)} images"
    try:
        together = session.infer(x_BCHW)
    except StageError as error:
        raise StageError(
            PLACE,
            f"takes one image at a time, whatever it says ({shape}: {error.wrong})",
            "export it with a dynamic batch, without sizes of it in reshape or expand",
        ) from error
    # Scales that a graph measures as it runs are those of the whole batch.
    if read.is_quantized:
        return
    is_like = together.shape == single.shape
    difference = relative_difference(together, single) if is_like else np.inf
    if difference > _MAX_BATCH_DIFFERENCE:
        raise StageError(
            PLACE,
            f"gives an image other logits beside other images than alone ({shape}: {difference:.2g}"
            " of the logits' spread)",
            "export it in evaluation mode, with a dynamic batch",
        )

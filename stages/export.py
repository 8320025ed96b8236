"""The export stage: the student as one ONNX file, checked against torch."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier import Classifier
from pipeline.stage import Context, StageError
from stages import bank, networks, onnxfile
from stages.card import Card

_BATCHES = (1, 2, 7, 64)


def run(ctx: Context) -> None:
    """Leave the student as ONNX."""
    options = ctx.settings.export
    student, card = networks.load(
        ctx.input("distill/student"), code=ctx.external("student_code"), place="student"
    )
    x_NCHW = bank.load(ctx.input("distill/bank"), "the bank")
    difference = export(
        student,
        card,
        ctx.output("onnx"),
        opset=options.opset,
        images_NCHW=x_NCHW,
        tolerance=options.max_logit_difference,
    )
    ctx.metric("max_logit_difference", difference)
    ctx.metric("bytes", ctx.output("onnx").stat().st_size)


def export(
    network: Classifier,
    card: Card,
    path: Path,
    *,
    opset: int,
    images_NCHW: NDArray[np.float32],
    tolerance: float,
) -> float:
    """Write a network as ONNX to `path` and return its largest logit difference to torch.

    Args:
        network: The classifier with its preprocessing.
        card: What it is and takes; written into the file.
        path: Where to write.
        opset: ONNX operator set.
        images_NCHW: Images in [0, 1] on which to compare, repeated to fill the batches.
        tolerance: Largest difference that passes.

    Raises:
        StageError: The exported graph is unsound or says other things than torch.
    """
    model = onnxfile.convert(network, card, opset=opset)
    onnxfile.save(model, path)
    onnxfile.read(path, "export")
    opened = onnxfile.session(path)
    largest = 0.0
    for batch in _BATCHES:
        x_BCHW = np.resize(images_NCHW, (batch, *images_NCHW.shape[1:]))
        with torch.no_grad():
            wanted_BK = network(torch.from_numpy(x_BCHW)).numpy()
        found_BK = onnxfile.logits(opened, x_BCHW)
        if not np.isfinite(wanted_BK).all():
            raise StageError(
                "export",
                f"the network gives outputs that are not finite at batch {batch} (nan or inf)",
                "check its weights",
            )
        largest = max(largest, float(np.abs(found_BK - wanted_BK).max(initial=0.0)))
        if not np.isfinite(found_BK).all() or largest > tolerance:
            raise StageError(
                "export",
                f"the ONNX file differs from torch by {largest:.3g} in a logit at batch {batch}",
                f"raise export.max_logit_difference above {tolerance:g} if that is acceptable",
            )
    return largest

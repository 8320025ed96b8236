"""The export stage: the student as one ONNX file, checked against torch."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from models.classifier import Classifier
from pipeline.cache.keys import file_sha256
from pipeline.settings import Export
from pipeline.stage import Context, StageError
from stages import bank
from stages.engines.base import AUTO, BACKENDS
from stages.networks import factory
from stages.networks.card import Card
from stages.networks.predict import predict
from stages.onnxgraph import io as onnx_io

_BATCHES = (1, 2, 7, 64)


class Checked(NamedTuple):
    """How an exported file compares with torch."""

    max_logit_difference: float
    agreement: float
    """The share of images to which both give the same class."""


def run(ctx: Context) -> None:
    """Leave the student as ONNX."""
    options = ctx.settings.export
    backend = ctx.settings.build.backend
    student, card = factory.load(
        ctx.input("distill/student"), code=ctx.external("student_code"), place="student"
    )
    x_NCHW = bank.load(ctx.input("distill/bank"), "the bank")
    checked = export(
        student,
        card,
        ctx.output("onnx"),
        options=options,
        opset=options.opset or BACKENDS[AUTO if backend == "auto" else backend].opset,
        images_NCHW=x_NCHW,
        student_sha256=file_sha256(ctx.input("distill/student")),
    )
    ctx.metric("max_logit_difference", checked.max_logit_difference)
    ctx.metric("agreement", checked.agreement)
    ctx.metric("bytes", ctx.output("onnx").stat().st_size)


def export(
    network: Classifier,
    card: Card,
    path: Path,
    *,
    options: Export,
    opset: int,
    images_NCHW: NDArray[np.float32],
    student_sha256: str,
) -> Checked:
    """Write a network as ONNX to `path` and return how it compares with torch.

    Args:
        network: The classifier with its preprocessing.
        card: What it is and takes; written into the file.
        path: Where to write.
        options: The kind of input, and what still passes.
        opset: ONNX operator set.
        images_NCHW: Images in [0, 1] on which to compare, repeated to fill the batches.
        student_sha256: Digest of the weights file; written into the file.

    Raises:
        StageError: The exported graph is unsound or says other things than torch.
    """
    is_bytes = options.input == "uint8-nhwc"
    model = onnx_io.convert(
        network, card, opset=opset, is_bytes=is_bytes, student_sha256=student_sha256
    )
    if is_bytes:
        images_NCHW = (images_NCHW * 255).round() / np.float32(255)
    # Under another name until it has passed: a file that differs from torch is not left behind.
    with TemporaryDirectory(prefix="madpipe-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        onnx_io.save(model, made)
        onnx_io.read(made, "export")
        opened = onnx_io.open_session(made)
        checked = _checked(network, opened, images_NCHW, options)
        made.replace(path)
    return checked


def _checked(
    network: Classifier,
    opened: onnxruntime.InferenceSession,
    images_NCHW: NDArray[np.float32],
    options: Export,
) -> Checked:
    """Return how an exported file compares with torch.

    Raises:
        StageError: It says other things than torch.
    """
    largest = 0.0
    for batch in _BATCHES:
        x_BCHW = np.resize(images_NCHW, (batch, *images_NCHW.shape[1:]))
        wanted_BK = _torch_logits(network, x_BCHW)
        found_BK = onnx_io.logits(opened, x_BCHW)
        if not np.isfinite(wanted_BK).all():
            raise StageError(
                "export",
                f"the network gives outputs that are not finite at batch {batch} (nan or inf)",
                "check its weights",
            )
        largest = max(largest, float(np.abs(found_BK - wanted_BK).max(initial=0.0)))
        if not np.isfinite(found_BK).all() or largest > options.max_logit_difference:
            raise StageError(
                "export",
                f"the ONNX file differs from torch by {largest:.3g} in a logit at batch {batch}",
                f"raise export.max_logit_difference above {options.max_logit_difference:g} if that "
                "is acceptable",
            )
    return Checked(largest, _agreement(network, opened, images_NCHW, options.min_agreement))


def _agreement(
    network: Classifier,
    opened: onnxruntime.InferenceSession,
    images_NCHW: NDArray[np.float32],
    least: float,
) -> float:
    """Return the share of images to which both give the same class.

    Raises:
        StageError: It is below `least`.
    """
    torch_NK = predict(lambda x_BCHW: _torch_logits(network, x_BCHW), images_NCHW)
    onnx_NK = predict(lambda x_BCHW: onnx_io.logits(opened, x_BCHW), images_NCHW)
    same = int((onnx_NK.argmax(axis=1) == torch_NK.argmax(axis=1)).sum())
    agreement = same / len(images_NCHW)
    if agreement < least:
        raise StageError(
            "export",
            f"the ONNX file gives torch's class to too few images ({agreement:.4f} of "
            f"{len(images_NCHW)}, wanted {least:g})",
            "lower export.min_agreement if that is acceptable",
        )
    return agreement


def _torch_logits(network: Classifier, x_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        logits_BK: NDArray[np.float32] = network(torch.from_numpy(x_BCHW)).numpy()
    return logits_BK

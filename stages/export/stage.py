"""The export stage: the student as one ONNX file, checked against torch."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier import Classifier
from pipeline.cache.keys import file_sha256
from pipeline.settings import Export
from pipeline.stage import Context, StageError
from stages import image_bank
from stages.engines.base import AUTO, BACKENDS
from stages.engines.ort import OrtSession
from stages.networks import factory
from stages.networks.card import Card
from stages.networks.predict import predict
from stages.onnxgraph import io as onnx_io

_BATCH_SIZES = (1, 2, 7, 64)


class Comparison(NamedTuple):
    """How an exported file compares with torch."""

    max_logit_difference: float
    agreement: float
    """The share of images to which both give the same class."""


def run(ctx: Context) -> None:
    """Leave the student as ONNX."""
    options = ctx.settings.export
    if ctx.is_smoke:  # a student that has hardly begun has ties everywhere
        options = msgspec.structs.replace(options, min_agreement=0.0)
    backend = ctx.settings.build.backend
    student, card = factory.load(
        ctx.input("distill/student"), code=ctx.external("student_code"), place="student"
    )
    comparison = export(
        student,
        card,
        ctx.output("onnx"),
        options=options,
        opset=options.opset or BACKENDS[AUTO if backend == "auto" else backend].opset,
        images_NCHW=image_bank.load(ctx.input("distill/bank"), "the bank"),
        student_sha256=file_sha256(ctx.input("distill/student")),
    )
    ctx.metric("max_logit_difference", comparison.max_logit_difference)
    ctx.metric("agreement", comparison.agreement)
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
) -> Comparison:
    """Write a network as ONNX to `path` and return how it compares with torch.

    `card` and `student_sha256`, the digest of the weights file, are written into the file. The
    images, in [0, 1], are those on which to compare, repeated to fill the batches.

    Raises:
        StageError: The exported graph is unsound or differs from torch.
    """
    is_bytes = options.input == "uint8-nhwc"
    model = onnx_io.from_torch(
        network, card, opset=opset, is_bytes=is_bytes, student_sha256=student_sha256
    )
    if is_bytes:
        images_NCHW = (images_NCHW * 255).round() / np.float32(255)
    # Under another name until it has passed: a file that differs from torch is not left behind.
    with TemporaryDirectory(prefix="madpipe-", dir=path.parent) as folder:
        exported = Path(folder) / path.name
        onnx_io.save(model, exported)
        onnx_io.read(exported, "export")
        comparison = _compare(network, OrtSession(exported), images_NCHW, options)
        exported.replace(path)
    return comparison


def _compare(
    network: Classifier, session: OrtSession, images_NCHW: NDArray[np.float32], options: Export
) -> Comparison:
    """Return how an exported file compares with torch; StageError where they differ too much."""

    def torch_logits(x_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits_BK: NDArray[np.float32] = network(torch.from_numpy(x_BCHW)).numpy()
        return logits_BK

    difference = 0.0
    for batch_size in _BATCH_SIZES:
        x_BCHW = np.resize(images_NCHW, (batch_size, *images_NCHW.shape[1:]))
        torch_BK, onnx_BK = torch_logits(x_BCHW), session.infer(x_BCHW)
        if not np.isfinite(torch_BK).all():
            raise StageError(
                "export",
                f"the network gives outputs that are not finite at batch {batch_size} (nan or inf)",
                "check its weights",
            )
        difference = max(difference, float(np.abs(onnx_BK - torch_BK).max(initial=0.0)))
        if not np.isfinite(onnx_BK).all() or difference > options.max_logit_difference:
            raise StageError(
                "export",
                f"the ONNX file differs from torch by {difference:.3g} in a logit at batch "
                f"{batch_size}",
                f"raise export.max_logit_difference above {options.max_logit_difference:g} if that "
                "is acceptable",
            )
    torch_N, onnx_N = (
        predict(infer, images_NCHW, batch_size=_BATCH_SIZES[-1]).argmax(axis=1)
        for infer in (torch_logits, session.infer)
    )
    agreement = float((torch_N == onnx_N).mean())
    if agreement < options.min_agreement:
        raise StageError(
            "export",
            f"the ONNX file gives torch's class to too few images ({agreement:.4f} of "
            f"{len(images_NCHW)}, wanted {options.min_agreement:g})",
            "lower export.min_agreement if that is acceptable",
        )
    return Comparison(difference, agreement)

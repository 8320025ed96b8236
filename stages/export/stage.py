"""The export stage: the student as one ONNX file, checked against torch."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from models import registry
from models.classifier import Classifier
from pipeline.atomic import naming, scratch_folder
from pipeline.cache.keys import file_sha256
from pipeline.settings import Export
from pipeline.stage import Context, StageError
from stages import image_bank
from stages.engines.base import AUTO, BACKENDS
from stages.engines.ort import OrtSession
from stages.export.compare import BATCH_SIZES, Comparison, Reference, compare
from stages.networks import factory, probe, reparameterize
from stages.networks.card import Card
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph import torch_export


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
        images_NCHW=image_bank.load(ctx.input("distill/bank"), "the bank", ctx.note),
        student_sha256=file_sha256(ctx.input("distill/student")),
    )
    for note in comparison.notes:
        ctx.note(note)
    ctx.metric("max_logit_difference", comparison.max_logit_difference)
    ctx.metric("relative_difference", comparison.relative_difference)
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
    batch_sizes: Sequence[int] = BATCH_SIZES,
) -> Comparison:
    """Write a network as ONNX to `path` and return how it compares with torch.

    `card` and `student_sha256`, the digest of the weights file, are written into the file. The
    images, in [0, 1], are those on which to compare, repeated to fill batches of some sizes.

    Raises:
        StageError: The answer for an image depends on its batch, no exporter writes the network,
            or what they write is unsound or differs from torch.
    """
    is_bytes = options.input == "uint8-nhwc"
    if is_bytes:
        images_NCHW = (images_NCHW * 255).round() / np.float32(255)
    reference = Reference(network, images_NCHW)
    reference.check_rows(options)
    # Networks of the registry and of libraries give logits, also where all of them are small.
    is_own = registry.source_file(card.arch) is not None
    if reference.is_constant:
        reference.notes.append(f"{card.arch} gives all images the same logits; check its weights")
    elif is_own and (kind := probe.output_kind(torch.from_numpy(reference.logits_NK))):
        reference.notes.append(
            f"{card.arch} gives {kind}, not logits: its classes are right, confidences taken "
            "from them are not; return what goes into the softmax"
        )
    written, notes = reparameterize.fused(network, images_NCHW)
    reference.notes.extend(notes)
    error: StageError | None = None
    for attempt in torch_export.attempts(
        written, card, opset=opset, is_bytes=is_bytes, student_sha256=student_sha256
    ):
        if attempt.model is None:
            error = error or attempt.error
            continue
        try:
            comparison = _written(attempt.model, path, reference, options, batch_sizes)
        except StageError as refusal:
            error = error or refusal
            continue
        if attempt.note:
            comparison = comparison._replace(notes=(*comparison.notes, attempt.note))
        return comparison
    assert error is not None
    raise error


def _written(
    model: ModelProto,
    path: Path,
    reference: Reference,
    options: Export,
    batch_sizes: Sequence[int],
) -> Comparison:
    """Write a model where it agrees with torch; a file that does not is not left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(path.parent) as folder:
        exported = folder / path.name
        onnx_io.save(model, exported)
        try:
            onnx_io.read(exported, "export")
        except StageError as error:
            if "bfloat16" not in error.wrong:
                raise
            raise StageError(
                "export",
                "the network computes in bfloat16, for which ONNX lacks its layers (autocast in "
                "its forward?)",
                "leave autocast to training: torch.autocast(..., enabled=self.training)",
            ) from error
        comparison = compare(
            reference, OrtSession(exported).infer, options, batch_sizes=batch_sizes
        )
        with naming(path):
            exported.replace(path)
    return comparison

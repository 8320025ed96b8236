"""A weights file from anywhere as ONNX."""

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pipeline.cache.keys import file_sha256
from pipeline.settings import Export
from pipeline.stage import OnNote, no_note
from stages.engines.base import AUTO, BACKENDS
from stages.export import stage as export_stage
from stages.export.compare import BATCH_SIZES
from stages.networks import weights
from stages.networks.describe import card_for
from stages.networks.facts import OPTIONS, Facts
from stages.standalone.assumptions import report_assumptions
from stages.standalone.restore import restore

_CHECK_IMAGES, _MIN_CHECK_IMAGES = 64, 16
_CHECK_PIXELS = 64 * 112**2
"""Of one channel: where images are larger than this allows, fewer are compared, down to 16."""
_NO_FACTS = Facts()


def export(
    student: Path,
    out: Path,
    facts: Facts = _NO_FACTS,
    *,
    is_strict: bool = False,
    options: Export | None = None,
    on_note: OnNote = no_note,
) -> dict[str, Any]:
    """Write the network of a weights file as ONNX; return what was identified and checked.

    Args:
        student: The weights file.
        out: The ONNX file to write.
        facts: What the options say of the network; the rest is the usual for its architecture.
        is_strict: Refuse to assume what goes into the graph.
        options: The table [export].
        on_note: Gets a line for each assumption.

    Raises:
        StageError: The file is no weights file, fits no architecture, or the export is wrong.
        UsageError: Options contradict the file, or something would be assumed that must not be.
    """
    options = options or Export()
    tensors = weights.read(student, "--student")
    card = card_for(student, tensors, facts)
    report_assumptions(card, OPTIONS, on_note, is_strict=is_strict)
    network = restore(card, tensors, student, place="--student", on_note=on_note)
    count = max(_MIN_CHECK_IMAGES, min(_CHECK_IMAGES, _CHECK_PIXELS // math.prod(card.size_px)))
    shape = (count, card.channels, *card.size_px)
    random_NCHW = np.random.default_rng(0).random(shape, dtype=np.float32)
    checked = export_stage.export(
        network,
        card,
        out,
        options=options,
        opset=options.opset or BACKENDS[AUTO].opset,
        images_NCHW=random_NCHW,
        student_sha256=file_sha256(student),
        batch_sizes=(*BATCH_SIZES[:-1], count),
    )
    for note in checked.notes:
        on_note(note)
    return {
        "arch": card.arch,
        "classes": card.num_classes,
        "image_size_px": card.image_size,
        "max_logit_difference": checked.max_logit_difference,
        "preprocessing": msgspec.to_builtins(card),
    }

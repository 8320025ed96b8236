"""What the logits of a teacher and an engine say before anyone trusts figures made of them.

Shape legend: N images, K classes.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import StageError
from pipeline.preprocessing import Preprocessing
from pipeline.stage import OnNote
from stages.data.images import Images
from stages.networks.card import Card
from stages.teacher import chance, class_order

_REMEDIES = {
    "teacher": "check --mean, --std and --labels, and that --data is of its classes",
    "engine": "check the range of its images (--mean of madpipe build)",
}


def of_input(card: Card, reading: Preprocessing, on_note: OnNote) -> None:
    """Say what both networks see: how images are read, and what the teacher makes of them."""
    mean, std = (",".join(f"{value:.4g}" for value in values) for values in (card.mean, card.std))
    height, width = reading.size_px
    on_note(
        f"images: {reading.scaling}, the middle {height} x {width}; for the teacher mean {mean}, "
        f"std {std}"
    )


def of_logits(
    logits: Mapping[str, NDArray[np.float32]], images: Images | None, on_note: OnNote
) -> None:
    """Say the top-1 of each network, and what makes it doubtful; without images there is none."""
    if images is None:
        return
    shares = (
        f"{name} {(logits_NK.argmax(axis=1) == images.y_N.numpy()).mean():.4f}"
        for name, logits_NK in logits.items()
    )
    on_note(f"top-1 on {len(images)} images: {', '.join(shares)}")
    for name, logits_NK in logits.items():
        if doubt := _doubt(name, torch.from_numpy(np.ascontiguousarray(logits_NK)), images):
            on_note(f"warning: {doubt}")
            return  # what makes the teacher doubtful makes its engine so


def _doubt(name: str, logits_NK: Tensor, images: Images) -> str | None:
    order = class_order.better(logits_NK, images.y_N, images.classes, setting="--labels")
    try:
        return chance.doubt(logits_NK, images.y_N, order) or order
    except StageError as error:
        return f"the {name} {error.wrong}; {order or _REMEDIES[name]}"

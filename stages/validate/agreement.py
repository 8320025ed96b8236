"""Agreement with the teacher on real images without labels that the student did not learn from.

Shape legend: N images, K classes.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.gates import measurements as records
from stages.data.images import Images
from stages.validate import accuracy

Infer = Callable[[Images], NDArray[np.float32]]
"""Returns the logits NK of a network."""


class HeldBack(NamedTuple):
    """The held-back images, and the logits NK of what lies between teacher and engine on them."""

    images: Images
    logits: accuracy.Logits


def measure(
    held_back: HeldBack | None, networks: Mapping[str, Infer]
) -> Mapping[str, records.Agreement]:
    """Return on how many images each network decides as the teacher; nothing without images.

    `networks` holds the teacher, and the engine where it runs here: each returns logits NK.
    StageError where outputs are not finite.
    """
    if held_back is None:
        return {}
    logits = all_logits(networks, *held_back)
    return accuracy.compare(logits, None, held_back.images.classes).bank_agreement


def all_logits(
    networks: Mapping[str, Infer], images: Images, between: accuracy.Logits
) -> dict[str, NDArray[np.float32]]:
    """Return the logits NK on images of the teacher, of what lies between, and of the engine."""
    own = {name: infer(images) for name, infer in networks.items()}
    return {"teacher": own.pop("teacher"), **between, **own}

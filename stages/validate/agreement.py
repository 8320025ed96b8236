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


class HeldBack(NamedTuple):
    """The held-back images, and the logits NK of what lies between teacher and engine on them."""

    images: Images
    logits: accuracy.Logits


def measure(
    held_back: HeldBack | None, networks: Mapping[str, Callable[[Images], NDArray[np.float32]]]
) -> Mapping[str, records.Agreement]:
    """Return on how many images each network decides as the teacher; nothing without images.

    `networks` holds the teacher, and the engine where it runs here: each returns logits NK.
    StageError where outputs are not finite.
    """
    if held_back is None:
        return {}
    logits = {name: infer(held_back.images) for name, infer in networks.items()}
    teacher = {"teacher": logits.pop("teacher")}
    compared = {**teacher, **held_back.logits, **logits}
    return accuracy.compare(compared, None, held_back.images.classes).bank_agreement

"""The network of a weights file from anywhere, as its card and the options describe it."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from models import registry
from models.classifier import Classifier
from pipeline.errors import StageError, UsageError
from pipeline.stage import OnNote
from stages.networks import factory
from stages.networks.card import Card
from stages.networks.identify_architecture import identify


def restore(
    card: Card, tensors: Mapping[str, Tensor], path: Path, *, place: str, on_note: OnNote
) -> Classifier:
    """Return the network of a card with the tensors of a file, which `place` names.

    Raises:
        StageError: The weights do not fit the network, or it cannot be built.
        UsageError: They are those of another network, so that --arch is wrong.
    """
    try:
        return factory.restore(
            card,
            tensors,
            code=registry.source_file(card.arch),
            arch_place="--arch",
            weights_place=place,
            on_note=on_note,
        )
    except StageError:
        with contextlib.suppress(StageError):
            arch = identify(
                tensors, channels=card.channels, num_classes=card.num_classes, path=path
            )
            if arch != card.arch:
                raise UsageError(
                    "--arch",
                    f"contradicts the file ({card.arch}; its tensors are those of {arch})",
                    f"leave it out, or give --arch {arch}",
                ) from None
        raise

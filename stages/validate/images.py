"""The images on which networks are compared, checked before anything is judged by them."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from pipeline.stage import StageError
from stages import bank
from stages.data.images import Images, check_labels
from stages.networks.card import Card

_IDENTIFYING = 256


def bank_images(path: Path, card: Card) -> Images:
    """Return the synthetic images of a bank, which have no labels: all are of class 0.

    Raises:
        StageError: The file is no bank, or its images are not those that the teacher takes.
    """
    x_NCHW = bank.load(path, "the bank")
    shown = Images(
        torch.from_numpy((x_NCHW * 255).round().astype(np.uint8)),
        torch.zeros(len(x_NCHW), dtype=torch.int64),
        card.classes,
    )
    _check_shape(shown, card)
    return shown


def check_images(shown: Images, card: Card) -> None:
    """Make sure that labelled images are those that the teacher is for.

    Raises:
        StageError: Other classes, channels or sizes, no images, or all of one class.
    """
    names = tuple(str(number) for number in range(card.num_classes))
    # Numbers stand for names that nobody gave; that there are as many is all that can be told.
    is_unnamed = card.classes == names and len(shown.classes) == len(names)
    if card.classes != shown.classes and not is_unnamed:
        raise StageError(
            "validate",
            f"the teacher's classes are not the data's ({card.classes[:3]}, {shown.classes[:3]})",
            "validate on the data that the teacher is for",
        )
    check_labels(shown.y_N.numpy(), card.num_classes)
    _check_shape(shown, card)


def _check_shape(shown: Images, card: Card) -> None:
    found = tuple(shown.batch(slice(0, 1), torch.device("cpu")).shape[1:])
    wanted = (card.channels, card.image_size_px, card.image_size_px)
    if found != wanted:
        raise StageError(
            "validate",
            f"images are {'x'.join(map(str, found))}, the teacher takes "
            f"{'x'.join(map(str, wanted))} (channels, height, width)",
            "validate on the data that the teacher is for",
        )


def identity(shown: Images) -> str:
    """Return a digest of the labels and of some images, which tells one set from another."""
    n = len(shown.y_N)
    every = torch.arange(0, n, max(1, n // _IDENTIFYING))
    x_BCHW = shown.batch(every, torch.device("cpu")).contiguous()
    digest = hashlib.sha256(repr((shown.classes, tuple(x_BCHW.shape))).encode())
    digest.update(shown.y_N.numpy().tobytes())
    digest.update((x_BCHW * 255).round().to(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

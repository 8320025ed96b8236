"""The images on which networks are compared, checked before anything is measured on them."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from pipeline.stage import OnNote, StageError, no_note
from stages import image_bank
from stages.data.images import Images, check_labels
from stages.networks.card import Card

_IDENTIFYING = 256


def bank_images(path: Path, card: Card, on_note: OnNote = no_note) -> Images:
    """Return the synthetic images of a bank, which have no labels: all are of class 0.

    StageError where the file is no bank, or its images are not those that the teacher takes.
    """
    x_NCHW = image_bank.load(path, "the bank", on_note)
    images = Images(
        torch.from_numpy((x_NCHW * 255).round().astype(np.uint8)),
        torch.zeros(len(x_NCHW), dtype=torch.int64),
        card.classes,
    )
    _check_shape(images, card)
    return images


def check_images(images: Images, card: Card) -> None:
    """Make sure that labelled images are those that the teacher is for.

    StageError for other classes, channels or sizes, no images, or all of one class.
    """
    # Numbers stand for names that nobody gave; that there are as many is all that can be checked.
    is_unnamed = card.classes == tuple(map(str, range(len(images.classes))))
    if card.classes != images.classes and not is_unnamed:
        difference = _difference(card.classes, images.classes)
        raise StageError(
            "validate",
            f"the teacher's classes are not the data's ({difference})",
            "validate on the data that the teacher is for",
        )
    check_labels(images.y_N.numpy(), card.num_classes)
    _check_shape(images, card)


def _difference(ours: tuple[str, ...], theirs: tuple[str, ...]) -> str:
    """Return how two lists of classes differ: in number, or where first."""
    if len(ours) != len(theirs):
        return f"{len(ours)} and {len(theirs)}"
    pairs = enumerate(zip(ours, theirs, strict=True))
    return next(f"class {n} is {one} and {other}" for n, (one, other) in pairs if one != other)


def _check_shape(images: Images, card: Card) -> None:
    shape = tuple(images.batch(slice(0, 1), torch.device("cpu")).shape[1:])
    card_shape = (card.channels, *card.size_px)
    if shape != card_shape:
        raise StageError(
            "validate",
            f"images are {'x'.join(map(str, shape))}, the teacher takes "
            f"{'x'.join(map(str, card_shape))} (channels, height, width)",
            "validate on the data that the teacher is for",
        )


def identity(images: Images) -> str:
    """Return a digest of the labels and of some images, which no other set of images has."""
    n = len(images.y_N)
    evenly_B = torch.arange(0, n, max(1, n // _IDENTIFYING))
    x_BCHW = images.batch(evenly_B, torch.device("cpu")).contiguous()
    digest = hashlib.sha256(repr((images.classes, tuple(x_BCHW.shape))).encode())
    digest.update(images.y_N.numpy().tobytes())
    digest.update((x_BCHW * 255).round().to(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

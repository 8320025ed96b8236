"""The monitor: the student's accuracy while it learns, which influences nothing."""

from collections.abc import Callable
from pathlib import Path

import torch

from models.classifier import Classifier
from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data import images
from stages.networks.card import Card
from stages.networks.predict import predict_torch, top1_accuracy


def open_monitor(
    data: Data,
    root: Path | None,
    card: Card,
    student: Classifier,
    device: torch.device,
    *,
    classes_file: Path | None = None,
) -> Callable[[], float]:
    """Return a call that measures the student's top-1 on the held-out images.

    Raises:
        StageError: The images are of other classes than the teacher's.
    """
    dataset = images.load(data, root, classes_file=classes_file, known_classes=card.classes)
    held_out = dataset.held_out
    if held_out.classes != card.classes:
        raise StageError(
            "distill.monitor",
            f"the classes of [data] are not the teacher's ({held_out.classes[:3]}, "
            f"{card.classes[:3]})",
            "monitor on the data that the teacher is for, or switch it off",
        )
    on_device = held_out.to(device)
    return lambda: top1_accuracy(predict_torch(student, on_device, device), held_out.y_N)

"""The curves of a distillation: one line of JSON for each window, and what they come to."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pipeline.atomic import write_bytes
from stages.distill.metrics import Window


def save(path: Path, windows: Sequence[Window]) -> None:
    """Write one line for each window."""
    write_bytes(path, b"".join(msgspec.json.encode(each) + b"\n" for each in windows))


def load(path: Path) -> list[Window]:
    """Return what `save` wrote.

    Raises:
        msgspec.DecodeError: It is something else.
    """
    return [msgspec.json.decode(line, type=Window) for line in path.read_bytes().splitlines()]


def figures(windows: Sequence[Window]) -> dict[str, float]:
    """Return means over the run, and how the monitored accuracy went, where it was followed.

    Mean and variance of the accuracy over time are those by which the field measures
    forgetting (Binici et al. 2022); they are in fractions and squared fractions.
    """
    found: dict[str, float] = {"class_entropy": windows[-1].class_entropy} if windows else {}
    for name in ("divergence_generator", "divergence_ema"):
        values = [v for each in windows if (v := getattr(each, name)) is not None]
        if values:
            found[name] = statistics.fmean(values)
    top1 = [each.student_top1 for each in windows if each.student_top1 is not None]
    if top1:
        found["monitor_top1_last"] = top1[-1]
        found["monitor_top1_best"] = max(top1)
        found["monitor_top1_mean"] = statistics.fmean(top1)
        found["monitor_top1_variance"] = statistics.pvariance(top1)
    return found

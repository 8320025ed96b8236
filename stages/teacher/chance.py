"""Whether a teacher is better than chance, also on few images and where one class has most of them.

Shape legend: N images, K classes.
"""

import torch
from torch import Tensor

from pipeline.gates.intervals import share_bounds
from pipeline.stage import StageError
from stages.networks.predict import top1_accuracy

_CONFIDENCE = 0.99
_SLIGHT_KAPPA = 0.2
"""Slight agreement at most (Landis & Koch, Biometrics 33 (1977) 159)."""
_ROUNDING = 1e-9


def doubt(logits_NK: Tensor, y_N: Tensor, remedy: str | None = None) -> str | None:
    """Return what makes a teacher's top-1 on labelled images doubtful, None where nothing does.

    Chance is how often the labels and as many guesses of each class as the teacher made would
    agree; Cohen's kappa (Educational and Psychological Measurement 20 (1960) 37) is the share of
    the rest that it gets right. The one class that most images may be of proves nothing then.

    `remedy` is what helps it, where that is known: another order of the classes, as a rule.

    Raises:
        StageError: It is no better than chance; nothing good can be distilled from it.
    """
    n, num_classes = logits_NK.shape
    top1 = top1_accuracy(logits_NK, y_N)
    guessed_K = torch.bincount(logits_NK.argmax(dim=1), minlength=num_classes).double() / n
    labelled_K = torch.bincount(y_N, minlength=num_classes).double() / n
    chance = float(guessed_K @ labelled_K)
    low, high = share_bounds(round(top1 * n), n, _CONFIDENCE)
    seen = f"top-1 {top1:.3f} on {n} images, chance {chance:.3f}"
    if labelled_K.max() == 1:
        return f"images of one class alone cannot tell whether the teacher is right ({seen})"
    is_slight = low <= chance and high - chance < _SLIGHT_KAPPA * (1 - chance)
    if top1 <= chance + _ROUNDING or is_slight:
        raise StageError(
            "teacher",
            f"is no better than chance ({seen})",
            remedy
            or "check its weights, the order of the classes, and what images it takes: "
            "data.image_size_px, data.mean and data.std, or teacher.input of a file without code",
        )
    if low <= chance:
        return f"too few images to tell whether the teacher is better than chance ({seen})"
    return None

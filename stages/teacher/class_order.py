"""Whether a teacher's outputs are in another order than the classes of the images.

Shape legend: N images, K classes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stages.data.classes import natural_key

_LEAST_GAIN = 0.05
_SIGMAS = 3.0
_LISTED = 20


def better(
    logits_NK: Tensor, y_N: Tensor, classes: Sequence[str], *, setting: str = "data.classes"
) -> str | None:
    """Return what order of the classes the teacher fits much better than theirs, None if none.

    Natural order and order without capitals are tried on all images, and the assignment of
    outputs to classes that fits one half of the images best on the other half. `setting` is what
    names the order.
    """
    guesses_N, labels_N = logits_NK.argmax(dim=1).numpy(), y_N.numpy()
    fit_N = np.zeros(len(labels_N), bool)
    for label in range(len(classes)):
        (of_class,) = np.nonzero(labels_N == label)
        fit_N[of_class[::2]] = True
    wrong_N = guesses_N != labels_N
    if all(part.mean() <= _LEAST_GAIN for part in (wrong_N, wrong_N[~fit_N]) if part.size):
        return None  # no order can gain as much
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  (slow to import; seldom)

    counts_KK = np.zeros((len(classes), len(classes)))
    np.add.at(counts_KK, (labels_N[fit_N], guesses_N[fit_N]), 1)
    best_K = linear_sum_assignment(counts_KK, maximize=True)[1]
    natural = "in natural order"
    if setting == "data.classes":
        natural += ' (data.classes = "natural")'
    orders = {
        natural: _outputs(classes, natural_key),
        "in order without capitals": _outputs(classes, str.lower),
        "in another order": best_K,
    }
    for name, outputs_K in orders.items():
        is_judged_N = ~fit_N if outputs_K is best_K else np.ones_like(fit_N)
        guessed_N, right_N = guesses_N[is_judged_N], labels_N[is_judged_N]
        fitting_N, right_N = guessed_N == outputs_K[right_N], guessed_N == right_N
        gained, lost = int((fitting_N & ~right_N).sum()), int((right_N & ~fitting_N).sum())
        is_clear = gained - lost > _SIGMAS * np.sqrt(gained + lost)
        if is_clear and (gained - lost) / len(right_N) > _LEAST_GAIN:
            return (
                f"top-1 is {fitting_N.mean():.3f} instead of {right_N.mean():.3f} with the "
                f"classes {name}{_list(classes, outputs_K)}; give {setting} in the order that the "
                "teacher was trained with"
            )
    return None


def _outputs(classes: Sequence[str], key: Callable[[str], Any]) -> NDArray[np.int64]:
    """Return the output of each class if the teacher's classes were sorted by `key`."""
    order = sorted(range(len(classes)), key=lambda k: key(classes[k]))
    return np.argsort(order)


def _list(classes: Sequence[str], outputs_K: NDArray[np.int64]) -> str:
    if len(classes) > _LISTED:
        return ""
    return ": " + ", ".join(classes[label] for label in np.argsort(outputs_K))

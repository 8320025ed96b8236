"""Accuracy of several networks on the same images, and the step of the chain that lost it.

Shape legend: N images, K classes. Knows nothing of files or torch.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from pipeline.gates import measurements as records
from pipeline.stage import StageError
from stages.validate import calibration_error

Logits = Mapping[str, NDArray[np.float32]]
"""Network -> logits of shape NK."""

_STEPS = {"student": "teacher", "onnx": "student", "graph": "onnx", "engine": "onnx"}
"""Each network and the one before it; the graph represents an engine for other GPUs."""

_REFERENCES = {"student": "teacher", "onnx": "student", "graph": "student", "engine": "student"}
"""Each network and its reference in the gates: the student is that of what is made from it, so
that a gate holds whatever lies between. Where there is no student it is the teacher."""

_TOP5_FROM = 6
"""Fewest classes with which top-5 means anything."""

_WORST = 5


class Comparison(NamedTuple):
    """Records by network, as `pipeline.gates.measurements.Measurements` has them."""

    accuracy: Mapping[str, records.Accuracy]
    agreement: Mapping[str, records.Agreement]
    paired: Mapping[str, records.PairedDrop]
    bank_agreement: Mapping[str, records.Agreement]


class _Flips(TypedDict):
    """How many of n images only the first, and only the second of two networks gets right."""

    lost: int
    gained: int
    n: int


def compare(logits: Logits, y_N: NDArray[np.int64] | None, classes: Sequence[str]) -> Comparison:
    """Return top-1, top-5, recall by class, calibration, agreement, and what each step changed.

    Without labels, as on synthetic images, all that is known is the agreement with the teacher.
    StageError where outputs are not finite, or networks differ in their number of classes.
    """
    for name, logits_NK in logits.items():
        wrong = int((~np.isfinite(logits_NK)).any(axis=1).sum())
        if wrong:
            raise StageError(
                "validate",
                f"{name} gives outputs that are not finite (nan or inf for {wrong} of "
                f"{len(logits_NK)} images)",
                "check its weights, and whether its precision can hold its values",
            )
    widths = {name: logits_NK.shape[1] for name, logits_NK in logits.items()}
    if len(set(widths.values())) > 1:
        counts = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise StageError(
            "validate", f"networks differ in their number of classes ({counts})", "use one set"
        )
    predictions = {name: logits_NK.argmax(axis=1) for name, logits_NK in logits.items()}
    n = len(predictions["teacher"])
    agreement = {}
    for name, class_N in predictions.items():
        if name != "teacher":
            hits = int((class_N == predictions["teacher"]).sum())
            agreement[name] = records.Agreement(hits=hits, n=n, value=hits / n)
    if y_N is None:
        return Comparison(accuracy={}, agreement={}, paired={}, bank_agreement=agreement)
    accuracy = {name: _accuracy(logits_NK, y_N, classes) for name, logits_NK in logits.items()}
    return Comparison(accuracy, agreement, _paired(logits, y_N, classes), bank_agreement={})


def _accuracy(
    logits_NK: NDArray[np.float32], y_N: NDArray[np.int64], classes: Sequence[str]
) -> records.Accuracy:
    """Return what one network gets right."""
    n = len(y_N)
    right_N = logits_NK.argmax(axis=1) == y_N
    has_top5 = logits_NK.shape[1] >= _TOP5_FROM
    top5_hits = int(_in_top5(logits_NK, y_N).sum()) if has_top5 else None
    return records.Accuracy(
        top1=float(right_N.mean()),
        hits=int(right_N.sum()),
        n=n,
        top5=None if top5_hits is None else top5_hits / n,
        top5_hits=top5_hits,
        calibration=calibration_error.measure(logits_NK, right_N),
        recall=tuple(
            records.ClassRecall(
                class_name=name, hits=int(right_N[y_N == k].sum()), n=int((y_N == k).sum())
            )
            for k, name in enumerate(classes)
        ),
    )


def _paired(
    logits: Logits, y_N: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, records.PairedDrop]:
    """Return for each network what it lost and gained against its reference in the gates.

    `step` has the same counts against the network right before it.
    """
    predictions = {name: logits_NK.argmax(axis=1) for name, logits_NK in logits.items()}
    right = {name: class_N == y_N for name, class_N in predictions.items()}
    drops: dict[str, records.PairedDrop] = {}
    for name, usual in _REFERENCES.items():
        reference = usual if usual in logits else "teacher"
        if name not in logits:
            continue
        top5 = None
        if logits[name].shape[1] >= _TOP5_FROM:
            top5 = _flips(_in_top5(logits[reference], y_N), _in_top5(logits[name], y_N))
        before = _STEPS[name] if _STEPS[name] in logits else reference
        losses = [
            records.ClassLoss(
                class_name=class_name, **_flips(right[before][y_N == k], right[name][y_N == k])
            )
            for k, class_name in enumerate(classes)
        ]
        losses = [loss for loss in losses if loss.lost > loss.gained]
        losses.sort(key=lambda loss: (loss.gained - loss.lost) / loss.n)
        drops[name] = records.PairedDrop(
            reference=reference,
            **_flips(right[reference], right[name]),
            top5_lost=top5["lost"] if top5 else None,
            top5_gained=top5["gained"] if top5 else None,
            step=records.StepChange(
                reference=before,
                **_flips(right[before], right[name]),
                changed=int((predictions[before] != predictions[name]).sum()),
                worst=tuple(losses[:_WORST]),
            ),
        )
    return drops


def _flips(before_N: NDArray[np.bool_], after_N: NDArray[np.bool_]) -> _Flips:
    return _Flips(
        lost=int((before_N & ~after_N).sum()),
        gained=int((~before_N & after_N).sum()),
        n=len(before_N),
    )


def _in_top5(logits_NK: NDArray[np.float32], y_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    top_N5 = np.argpartition(-logits_NK, 4, axis=1)[:, :5]
    return np.asarray((top_N5 == y_N[:, None]).any(axis=1))

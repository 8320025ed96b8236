"""Accuracy of several networks on the same images, and the step of the chain that lost it.

Shape legend: N images, K classes. Knows nothing of files or torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.stage import StageError
from stages.validate import calibration_error

Logits = Mapping[str, NDArray[np.float32]]
Said = Mapping[str, NDArray[np.int64]]

STEPS = {"student": "teacher", "onnx": "student", "graph": "onnx", "engine": "onnx"}
"""Each network and the one before it in the chain; the graph stands for an engine elsewhere."""

TOP5_FROM = 6
"""Fewest classes with which top-5 says anything."""

_WORST = 5


def check(logits: Logits) -> None:
    """Make sure that every network said something about every image.

    Raises:
        StageError: Outputs are not finite, or networks differ in their number of classes.
    """
    for name, each_NK in logits.items():
        wrong = int((~np.isfinite(each_NK)).any(axis=1).sum())
        if wrong:
            raise StageError(
                "validate",
                f"{name} gives outputs that are not finite (nan or inf for {wrong} of "
                f"{len(each_NK)} images)",
                "check its weights, and whether its precision can hold its values",
            )
    widths = {name: each_NK.shape[1] for name, each_NK in logits.items()}
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise StageError(
            "validate", f"networks differ in their number of classes ({told})", "use one set"
        )


def measure(logits: Logits, y_N: NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    """Return top-1, top-5, recall by class, calibration, agreement, and what each step changed.

    Raises:
        StageError: A network gives outputs that are not finite.
    """
    check(logits)
    said = {name: each.argmax(axis=1) for name, each in logits.items()}
    accuracy = {name: _record(each, y_N, classes) for name, each in logits.items()}
    return {
        "accuracy": accuracy,
        "agreement": agreement(said),
        "paired": _paired(logits, said, y_N, classes),
    }


def agreement(said: Said) -> dict[str, Any]:
    """Return for each network but the teacher how often it says the same as the teacher."""
    records = {}
    for name, each in said.items():
        if name != "teacher":
            hits = int((each == said["teacher"]).sum())
            records[name] = {"hits": hits, "n": len(each), "value": hits / len(each)}
    return records


def _record(
    logits_NK: NDArray[np.float32], y_N: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    n = len(y_N)
    right_N = logits_NK.argmax(axis=1) == y_N
    record: dict[str, Any] = {"top1": float(right_N.mean()), "hits": int(right_N.sum()), "n": n}
    if logits_NK.shape[1] >= TOP5_FROM:
        hits = int(_in_top5(logits_NK, y_N).sum())
        record |= {"top5": hits / n, "top5_hits": hits}
    record["calibration"] = calibration_error.measure(logits_NK, right_N)
    record["recall"] = [
        {"class": name, "hits": int(right_N[y_N == label].sum()), "n": int((y_N == label).sum())}
        for label, name in enumerate(classes)
    ]
    return record


def _paired(
    logits: Logits, said: Said, y_N: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    """Return for each network what it lost and gained against its reference in the gates.

    The student is the reference of what is made from it, so that a gate holds whatever lies
    between; `step` has the same counts against the network right before it.
    """
    references = {
        "student": "teacher",
        "onnx": "student",
        "graph": "student",
        "engine": "student",
    }
    right = {name: each == y_N for name, each in said.items()}
    records: dict[str, Any] = {}
    for name, reference in references.items():
        if name not in said or reference not in said:
            continue
        record: dict[str, Any] = {"reference": reference} | _flips(right[reference], right[name])
        if logits[name].shape[1] >= TOP5_FROM:
            both = (_in_top5(logits[reference], y_N), _in_top5(logits[name], y_N))
            record |= {f"top5_{key}": value for key, value in _flips(*both).items() if key != "n"}
        before = STEPS[name] if STEPS[name] in said else reference
        record["step"] = {
            "reference": before,
            **_flips(right[before], right[name]),
            "changed": int((said[before] != said[name]).sum()),
            "worst": _worst(right[before], right[name], y_N, classes),
        }
        records[name] = record
    return records


def _flips(before_N: NDArray[np.bool_], after_N: NDArray[np.bool_]) -> dict[str, int]:
    return {
        "lost": int((before_N & ~after_N).sum()),
        "gained": int((~before_N & after_N).sum()),
        "n": len(before_N),
    }


def _worst(
    before_N: NDArray[np.bool_],
    after_N: NDArray[np.bool_],
    y_N: NDArray[np.int64],
    classes: Sequence[str],
) -> list[dict[str, Any]]:
    """Return the classes that lost the most of their images, the worst first."""
    rows: list[dict[str, Any]] = [
        {"class": name, **_flips(before_N[y_N == label], after_N[y_N == label])}
        for label, name in enumerate(classes)
    ]
    rows = [row for row in rows if row["lost"] > row["gained"]]
    rows.sort(key=lambda row: (row["gained"] - row["lost"]) / row["n"])
    return rows[:_WORST]


def _in_top5(logits_NK: NDArray[np.float32], y_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    top_N5 = np.argpartition(-logits_NK, 4, axis=1)[:, :5]
    found: NDArray[np.bool_] = (top_N5 == y_N[:, None]).any(axis=1)
    return found

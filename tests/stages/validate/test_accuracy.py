"""Figures worked out by hand, and labels and outputs that cannot be judged."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import StageError
from stages.validate import accuracy

CLASSES = ("a", "b", "c")


def _says(*labels: int, classes: int = 3) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[list(labels)]


LOGITS = {
    "teacher": _says(0, 1, 2, 0, 1),
    "student": _says(0, 1, 0, 1, 2),
    "onnx": _says(0, 1, 0, 1, 2),
    "engine": _says(0, 0, 2, 1, 2),
}
LABELS = np.array([0, 1, 2, 1, 0])


def test_accuracy_agreement_and_paired_counts_are_as_worked_out_by_hand() -> None:
    found = accuracy.measure(LOGITS, LABELS, CLASSES)
    hits = {name: each["hits"] for name, each in found["accuracy"].items()}
    assert hits == {"teacher": 3, "student": 3, "onnx": 3, "engine": 3}
    assert found["accuracy"]["teacher"]["top1"] == 0.6
    assert found["accuracy"]["teacher"]["recall"] == [
        {"class": "a", "hits": 1, "n": 2},
        {"class": "b", "hits": 1, "n": 2},
        {"class": "c", "hits": 1, "n": 1},
    ]
    assert found["agreement"]["student"] == {"hits": 2, "n": 5, "value": 0.4}
    counts = {
        name: (each["reference"], each["lost"], each["gained"], each["n"])
        for name, each in found["paired"].items()
    }
    assert counts == {
        "student": ("teacher", 1, 1, 5),
        "onnx": ("student", 0, 0, 5),
        "engine": ("student", 1, 1, 5),
    }


def test_each_step_is_told_with_the_classes_that_lost_most() -> None:
    found = accuracy.measure(LOGITS, LABELS, CLASSES)["paired"]
    assert found["student"]["step"] == {
        "reference": "teacher",
        "lost": 1,
        "gained": 1,
        "n": 5,
        "changed": 3,
        "worst": [{"class": "c", "lost": 1, "gained": 0, "n": 1}],
    }
    assert found["engine"]["step"]["reference"] == "onnx"
    assert found["engine"]["step"]["changed"] == 2


def test_top5_is_measured_only_where_it_says_something() -> None:
    assert "top5" not in accuracy.measure(LOGITS, LABELS, CLASSES)["accuracy"]["teacher"]
    ramp = np.arange(6, dtype=np.float32)[None].repeat(2, axis=0)
    logits = {"teacher": ramp, "student": ramp[:, ::-1].copy()}
    found = accuracy.measure(logits, np.array([0, 5]), tuple("abcdef"))
    assert found["accuracy"]["teacher"]["top5"] == 0.5
    paired = found["paired"]["student"]
    assert (paired["top5_lost"], paired["top5_gained"]) == (1, 1)


def test_without_a_student_nothing_is_paired() -> None:
    logits = {"teacher": _says(0, 1), "engine": _says(0, 1)}
    found = accuracy.measure(logits, np.array([0, 1]), CLASSES)
    assert found["paired"] == {}
    assert list(found["accuracy"]) == ["teacher", "engine"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_refused_by_name_and_counted(value: float) -> None:
    broken = _says(0, 1)
    broken[1, 0] = value
    with pytest.raises(StageError, match=r"engine gives outputs .* \(nan or inf for 1 of 2"):
        accuracy.measure({"teacher": _says(0, 1), "engine": broken}, np.array([0, 1]), CLASSES)


def test_networks_of_different_classes_are_refused() -> None:
    logits = {"teacher": _says(0), "engine": _says(0, classes=4)}
    with pytest.raises(StageError, match=r"teacher 3, engine 4"):
        accuracy.check(logits)

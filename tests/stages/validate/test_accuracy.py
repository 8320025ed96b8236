"""Figures worked out by hand, and labels and outputs that cannot be compared."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import StageError
from pipeline.gates.measurements import Agreement, ClassLoss, ClassRecall, StepChange
from stages.validate import accuracy

CLASSES = ("a", "b", "c")


def _logits(*labels: int, classes: int = 3) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[list(labels)]


LOGITS = {
    "teacher": _logits(0, 1, 2, 0, 1),
    "student": _logits(0, 1, 0, 1, 2),
    "onnx": _logits(0, 1, 0, 1, 2),
    "engine": _logits(0, 0, 2, 1, 2),
}
LABELS = np.array([0, 1, 2, 1, 0])


def test_accuracy_agreement_and_paired_counts_are_as_worked_out_by_hand() -> None:
    comparison = accuracy.compare(LOGITS, LABELS, CLASSES)
    hits = {name: record.hits for name, record in comparison.accuracy.items()}
    assert hits == {"teacher": 3, "student": 3, "onnx": 3, "engine": 3}
    assert comparison.accuracy["teacher"].top1 == 0.6
    assert comparison.accuracy["teacher"].recall == (
        ClassRecall(class_name="a", hits=1, n=2),
        ClassRecall(class_name="b", hits=1, n=2),
        ClassRecall(class_name="c", hits=1, n=1),
    )
    assert comparison.agreement["student"] == Agreement(hits=2, n=5, value=0.4)
    assert comparison.bank_agreement == {}
    counts = {
        name: (drop.reference, drop.lost, drop.gained, drop.n)
        for name, drop in comparison.paired.items()
    }
    assert counts == {
        "student": ("teacher", 1, 1, 5),
        "onnx": ("student", 0, 0, 5),
        "engine": ("student", 1, 1, 5),
    }


def test_every_step_has_the_classes_that_lost_most() -> None:
    paired = accuracy.compare(LOGITS, LABELS, CLASSES).paired
    assert paired["student"].step == StepChange(
        reference="teacher",
        lost=1,
        gained=1,
        n=5,
        changed=3,
        worst=(ClassLoss(class_name="c", lost=1, gained=0, n=1),),
    )
    assert paired["engine"].step.reference == "onnx"
    assert paired["engine"].step.changed == 2


def test_top5_is_measured_only_where_it_means_something() -> None:
    assert accuracy.compare(LOGITS, LABELS, CLASSES).accuracy["teacher"].top5 is None
    ramp = np.arange(6, dtype=np.float32)[None].repeat(2, axis=0)
    logits = {"teacher": ramp, "student": ramp[:, ::-1].copy()}
    comparison = accuracy.compare(logits, np.array([0, 5]), tuple("abcdef"))
    assert comparison.accuracy["teacher"].top5 == 0.5
    drop = comparison.paired["student"]
    assert (drop.top5_lost, drop.top5_gained) == (1, 1)


def test_without_a_student_the_engine_is_paired_with_the_teacher() -> None:
    logits = {"teacher": _logits(0, 1), "engine": _logits(0, 1)}
    comparison = accuracy.compare(logits, np.array([0, 1]), CLASSES)
    assert comparison.paired["engine"].reference == "teacher"
    assert list(comparison.accuracy) == ["teacher", "engine"]


def test_without_labels_agreement_is_all_there_is() -> None:
    comparison = accuracy.compare(LOGITS, None, CLASSES)
    assert (comparison.accuracy, comparison.agreement, comparison.paired) == ({}, {}, {})
    assert comparison.bank_agreement["student"] == Agreement(hits=2, n=5, value=0.4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_refused_by_name_and_counted(value: float) -> None:
    broken = _logits(0, 1)
    broken[1, 0] = value
    with pytest.raises(StageError, match=r"engine gives outputs .* \(nan or inf for 1 of 2"):
        accuracy.compare({"teacher": _logits(0, 1), "engine": broken}, np.array([0, 1]), CLASSES)


def test_networks_of_different_classes_are_refused() -> None:
    logits = {"teacher": _logits(0), "engine": _logits(0, classes=4)}
    with pytest.raises(StageError, match=r"teacher 3, engine 4"):
        accuracy.compare(logits, None, CLASSES)

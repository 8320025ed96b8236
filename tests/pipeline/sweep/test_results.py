"""From measurements to a row: what the engine lost against the teacher, with its bounds."""

import pytest

from pipeline.gates.intervals import drop_bounds, share_bounds
from pipeline.gates.measurements import Measurements, Samples
from pipeline.sweep.results import loss_of
from tests.measurements import MEASURED, NOT_RUN, ON_THE_BANK, SAMPLES, changed

LABELS = (0, 1, 2, 3)
PREDICTED = {
    "teacher": (0, 1, 2, 9),
    "student": (0, 1, 9, 9),
    "engine": (0, 9, 9, 3),
}
"""The engine loses two of the teacher's three and gains one."""
MEASURED_SAMPLES = changed(SAMPLES, labels=LABELS, said=PREDICTED)


def test_the_engine_is_counted_against_the_teacher_on_the_same_images() -> None:
    assert MEASURED.paired["engine"].reference == "student"
    loss = loss_of(MEASURED, MEASURED_SAMPLES)
    assert loss is not None
    assert (loss.kind, loss.network, loss.n) == ("top1_drop", "engine", 4)
    assert loss.value == 0.25
    assert (loss.low, loss.high) == drop_bounds(2, 1, 4, 0.95)
    assert loss.images == MEASURED.dataset.id


@pytest.mark.parametrize(
    "samples",
    [None, changed(SAMPLES, labels=LABELS, said={"engine": (0, 0, 0, 0)})],
    ids=["no samples", "no predictions of the teacher"],
)
def test_without_its_predictions_the_loss_is_the_student_s(samples: Samples | None) -> None:
    loss = loss_of(MEASURED, samples)
    student = MEASURED.paired["student"]
    assert loss is not None
    assert loss.network == "student"
    assert loss.value == (student.lost - student.gained) / student.n


def test_without_labels_it_is_the_disagreement_on_synthetic_images() -> None:
    loss = loss_of(ON_THE_BANK, None)
    share = ON_THE_BANK.bank_agreement["engine"]
    assert loss is not None
    assert (loss.kind, loss.network) == ("bank_disagreement", "engine")
    assert loss.value == 1 - share.hits / share.n
    assert (loss.low, loss.high) == share_bounds(share.n - share.hits, share.n, 0.95)


def test_where_nothing_was_compared_there_is_no_loss() -> None:
    measured: Measurements = NOT_RUN
    assert loss_of(measured, None) is None

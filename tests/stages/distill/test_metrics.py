"""A window counts what happened since the last one, and survives a checkpoint."""

import math

import msgspec
import pytest
import torch

from stages.distill.metrics import MetricAccumulator, Window

CPU = torch.device("cpu")


def _filled() -> MetricAccumulator:
    tally = MetricAccumulator(3, CPU)
    for loss in (1.0, 3.0):
        tally.generator_step(torch.tensor(loss))
    teacher_BK = torch.tensor([[9.0, 0, 0], [9, 0, 0], [0, 9, 0], [9, 0, 0]])
    student_BK = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 9, 0], [0, 0, 9]])
    tally.drawn(teacher_BK)
    tally.student_step(torch.tensor(0.5), student_BK, teacher_BK)
    tally.student_step(torch.tensor(1.5), teacher_BK, teacher_BK)
    return tally


def test_a_window_has_means_shares_and_entropy() -> None:
    window = _filled().read(7, {"divergence_generator": 0.25}, 0.5)
    assert window.round == 7
    assert window.generator_loss == 2.0
    assert window.student_loss == 1.0
    assert window.agreement == (2 + 4) / 8
    assert window.largest_class_share == 0.75
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(3)
    assert window.class_entropy == pytest.approx(entropy)
    assert (window.divergence_generator, window.divergence_ema, window.student_top1) == (
        0.25,
        None,
        0.5,
    )


def test_reading_begins_a_new_window() -> None:
    tally = _filled()
    tally.read(1, {}, None)
    window = tally.read(2, {}, None)
    assert (window.student_loss, window.agreement, window.largest_class_share) == (0, 0, 0)


def test_a_half_full_window_goes_on_from_its_state() -> None:
    tally, again = _filled(), MetricAccumulator(3, CPU)
    again.load_state_dict({name: each.clone() for name, each in tally.state_dict().items()})
    assert again.read(1, {}, None) == tally.read(1, {}, None)


def test_a_loss_that_is_not_finite_shows() -> None:
    tally = MetricAccumulator(2, CPU)
    tally.generator_step(torch.tensor(math.nan))
    assert math.isnan(tally.read(1, {}, None).generator_loss)


def test_what_was_not_measured_is_not_written() -> None:
    window = _filled().read(1, {}, None)
    assert "divergence_ema" not in msgspec.to_builtins(window)
    assert msgspec.convert(msgspec.to_builtins(window), Window) == window

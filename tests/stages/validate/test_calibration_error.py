"""The calibration error of cases that can be worked out by hand."""

import numpy as np
import pytest

from stages.validate import calibration_error


def _logits(confidence: float, n: int) -> "np.ndarray":
    odds = np.log(confidence / (1 - confidence))
    return np.tile(np.array([odds, 0.0], dtype=np.float32), (n, 1))


def test_the_error_is_how_far_confidence_is_from_being_right() -> None:
    right_N = np.arange(100) < 70
    record = calibration_error.measure(_logits(0.9, 100), right_N)
    assert record.error == pytest.approx(0.2, abs=1e-6)
    assert record.mean_confidence == pytest.approx(0.9, abs=1e-6)
    (only_bin,) = record.bins
    assert (only_bin.n, only_bin.accuracy) == (100, 0.7)


def test_bins_are_weighed_by_their_images() -> None:
    logits_NK = np.concatenate([_logits(0.9, 80), _logits(0.6, 20)])
    right_N = np.concatenate([np.arange(80) < 64, np.arange(20) < 20])
    record = calibration_error.measure(logits_NK, right_N)
    assert record.error == pytest.approx(0.8 * 0.1 + 0.2 * 0.4, abs=1e-6)


def test_bounds_hold_the_error_and_narrow_with_more_images() -> None:
    def width(n: int) -> float:
        record = calibration_error.measure(_logits(0.8, n), np.arange(n) < 0.7 * n)
        table = record.quantiles
        assert table["0.05"] <= record.error <= table["0.95"]
        return float(table["0.95"] - table["0.05"])

    assert width(4000) < width(200) / 3


def test_a_certain_network_that_is_always_right_has_no_error() -> None:
    logits_NK = np.array([[90.0, -90.0]] * 10, dtype=np.float32)
    record = calibration_error.measure(logits_NK, np.ones(10, dtype=bool))
    assert record.error == pytest.approx(0.0)
    assert set(record.quantiles.values()) == {0.0}

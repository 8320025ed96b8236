"""Engines are compared in terms of their logits' own spread."""

import numpy as np
import pytest

from stages.build.agreement import compare, relative_difference

REFERENCE_NK = np.array([[0, 1, 2], [2, 0, 1]], np.float32)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_networks_of_large_and_of_tiny_logits_are_judged_alike(scale: float) -> None:
    off_NK = REFERENCE_NK + np.array([[0, 0, 0.1], [0, 0, 0]], np.float32)
    difference = relative_difference(off_NK * np.float32(scale), REFERENCE_NK * np.float32(scale))
    assert difference == pytest.approx(0.05, rel=1e-3)


def test_another_class_is_a_disagreement() -> None:
    agreement = compare(REFERENCE_NK[:, ::-1].copy(), REFERENCE_NK)
    assert agreement.disagreement == 1.0


@pytest.mark.parametrize(
    ("logits", "expected"), [(3.0, 0.0), (4.5, 0.5), (np.nan, np.inf), (np.inf, np.inf)]
)
def test_logits_without_a_spread_are_judged_by_their_magnitude(
    logits: float, expected: float
) -> None:
    reference_NK = np.full((2, 3), 3.0, np.float32)
    assert relative_difference(np.full_like(reference_NK, logits), reference_NK) == expected

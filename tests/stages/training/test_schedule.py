"""Learning rates that rise and fall once."""

import pytest

from stages.training.schedule import one_cycle, triangle


def test_it_begins_at_a_25th_of_the_peak() -> None:
    assert one_cycle(0, 100, 0.5, 0.2) == pytest.approx(0.02)


def test_it_reaches_the_peak_at_the_end_of_the_warm_up() -> None:
    assert one_cycle(20, 100, 0.5, 0.2) == pytest.approx(0.5)


def test_it_is_half_way_in_the_middle_of_the_fall() -> None:
    assert one_cycle(60, 100, 0.5, 0.2) == pytest.approx((0.5 + 0.5e-4) / 2)


def test_it_rises_and_then_falls_and_stays_above_zero() -> None:
    rates = [one_cycle(step, 100, 0.5, 0.2) for step in range(100)]
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[-1] < 0.01 * 0.5


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_it_is_defined_for_the_shortest_runs(steps: int) -> None:
    rates = [one_cycle(step, steps, 1.0, 0.2) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)


def test_the_triangle_is_straight_on_both_sides_of_its_peak() -> None:
    rates = [triangle(step, 100, 0.5, 0.2) for step in range(100)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[20] == pytest.approx(0.5)
    assert rates[10] == pytest.approx((rates[0] + rates[20]) / 2)
    assert rates[60] == pytest.approx((0.5 + 0.5e-4) / 2)
    assert 0 < rates[-1] < 0.02


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_triangle_is_defined_for_the_shortest_runs(steps: int) -> None:
    assert all(0 < triangle(step, steps, 1.0, 0.2) <= 1 for step in range(steps))

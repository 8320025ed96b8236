"""The time left goes by what was done lately, in one unit."""

from pipeline.events import Event
from pipeline.screen.pace import Pace


def _progress(time_s: float, done: int, total: int = 100, unit: str = "rounds") -> Event:
    fields = {"done": done, "total": total, "unit": unit}
    return Event(time_s=time_s, kind="progress", stage="distill", fields=fields)


def test_nothing_is_known_before_anything_is_done() -> None:
    pace = Pace()
    assert pace.left_s(0.0) is None
    pace.add(_progress(0.0, 0))
    assert (pace.per_s(5.0), pace.left_s(5.0)) == (None, None)


def test_what_is_left_takes_as_long_as_what_was_done() -> None:
    pace = Pace()
    pace.add(_progress(0.0, 0))
    pace.add(_progress(10.0, 20))
    assert (pace.per_s(10.0), pace.left_s(10.0)) == (2.0, 40.0)


def test_a_slow_beginning_is_forgotten() -> None:
    pace = Pace()
    pace.add(_progress(0.0, 0))
    for second in range(300, 421):
        pace.add(_progress(float(second), second - 299, 1000))
    left_s = pace.left_s(420.0)
    assert left_s is not None
    assert abs(left_s - (1000 - 121)) < 20


def test_another_unit_and_a_resumed_count_begin_anew() -> None:
    pace = Pace()
    pace.add(_progress(0.0, 50))
    pace.add(_progress(1.0, 60))
    pace.add(_progress(2.0, 0, unit="images"))
    assert pace.per_s(3.0) is None
    pace.add(_progress(4.0, 10, unit="images"))
    assert pace.per_s(4.0) == 5.0

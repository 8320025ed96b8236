"""How far a build is."""

from stages.engines.tensorrt.fraction import Fraction


def test_steps_within_a_step_count_as_parts_of_it() -> None:
    fraction = Fraction()
    assert fraction.percent() == 0
    fraction.start("outer", None, 4)
    fraction.step("outer", 0)
    assert fraction.percent() == 25
    fraction.start("inner", "outer", 2)
    fraction.step("inner", 0)
    assert fraction.percent() == 37
    fraction.step("inner", 1)
    assert fraction.percent() == 50
    fraction.finish("inner")
    assert fraction.percent() == 50  # held, although the phase that reached it is gone
    fraction.step("outer", 1)
    assert fraction.percent() == 50


def test_it_never_falls_and_the_end_is_for_the_caller_to_tell() -> None:
    fraction = Fraction()
    fraction.start("one", None, 1)
    fraction.step("one", 0)
    assert fraction.percent() == 99
    fraction.finish("one")
    fraction.start("two", None, 10)
    assert fraction.percent() == 99


def test_phases_without_steps_and_unknown_ones_do_no_harm() -> None:
    fraction = Fraction()
    fraction.step("never begun", 3)
    fraction.finish("never begun")
    fraction.start("empty", None, 0)
    assert fraction.percent() == 0

"""The calls into TensorRT and the progress of a build; whole builds are in test_rtx."""

import warnings

import pytest

from pipeline import machine
from stages.engines.tensorrt import builder
from stages.engines.tensorrt.edition import RTX

needs_rtx = pytest.mark.skipif(
    not machine.has_module("tensorrt_rtx"), reason="TensorRT-RTX is not installed"
)


@needs_rtx
def test_the_logger_keeps_errors_as_one_line_and_nothing_else() -> None:
    import tensorrt_rtx as trt

    errors: list[str] = []
    log = builder.logger(RTX, errors)
    for severity in (trt.ILogger.Severity.INFO, trt.ILogger.Severity.WARNING):
        log.log(severity, "chatter")
    log.log(trt.ILogger.Severity.ERROR, "bad\n  thing")
    log.log(trt.ILogger.Severity.INTERNAL_ERROR, "worse")
    assert errors == ["bad thing", "worse"]


def test_a_refusal_gives_the_first_reason_or_states_that_there_is_none() -> None:
    assert "TensorRT-RTX cannot (one)" in str(builder.refusal("cannot", ["one", "two"], RTX))
    assert "it gives no reason" in str(builder.refusal("cannot", [], RTX))


@needs_rtx
def test_the_progress_monitor_passes_the_answer_on() -> None:
    percents: list[int] = []

    def on_percent(percent: int) -> bool:
        percents.append(percent)
        return len(percents) < 2

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor = builder._monitor(RTX, on_percent)
    monitor.phase_start("all", None, 4)
    assert monitor.step_complete("all", 0)
    assert not monitor.step_complete("all", 1)
    monitor.phase_finish("all")
    assert percents == [25, 50]


def test_steps_within_a_step_count_as_parts_of_it() -> None:
    progress = builder.BuildProgress(lambda percent: True)  # noqa: ARG005
    assert progress.percent() == 0
    progress.phase_start("outer", None, 4)
    progress.step_complete("outer", 0)
    assert progress.percent() == 25
    progress.phase_start("inner", "outer", 2)
    progress.step_complete("inner", 0)
    assert progress.percent() == 37
    progress.step_complete("inner", 1)
    assert progress.percent() == 50
    progress.phase_finish("inner")
    assert progress.percent() == 50  # held, although the phase that reached it is gone
    progress.step_complete("outer", 1)
    assert progress.percent() == 50


def test_the_percent_never_falls_and_the_end_is_for_the_caller_to_report() -> None:
    progress = builder.BuildProgress(lambda percent: True)  # noqa: ARG005
    progress.phase_start("one", None, 1)
    progress.step_complete("one", 0)
    assert progress.percent() == 99
    progress.phase_finish("one")
    progress.phase_start("two", None, 10)
    assert progress.percent() == 99


def test_phases_without_steps_and_unknown_ones_do_no_harm() -> None:
    progress = builder.BuildProgress(lambda percent: True)  # noqa: ARG005
    progress.step_complete("never begun", 3)
    progress.phase_finish("never begun")
    progress.phase_start("empty", None, 0)
    assert progress.percent() == 0

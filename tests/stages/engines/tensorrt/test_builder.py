"""The calls into TensorRT, in this process; whole builds are in test_rtx."""

import warnings

import pytest

from pipeline import machine
from stages.engines.tensorrt import builder
from stages.engines.tensorrt.edition import RTX

pytestmark = pytest.mark.skipif(
    not machine.has_module("tensorrt_rtx"), reason="TensorRT-RTX is not installed"
)


def test_the_logger_keeps_errors_as_one_line_and_nothing_else() -> None:
    import tensorrt_rtx as trt

    errors: list[str] = []
    log = builder.logger(RTX, errors)
    for severity in (trt.ILogger.Severity.INFO, trt.ILogger.Severity.WARNING):
        log.log(severity, "chatter")
    log.log(trt.ILogger.Severity.ERROR, "bad\n  thing")
    log.log(trt.ILogger.Severity.INTERNAL_ERROR, "worse")
    assert errors == ["bad thing", "worse"]


def test_a_refusal_gives_the_first_reason_or_says_that_there_is_none() -> None:
    assert "TensorRT-RTX cannot (one)" in str(builder.refusal("cannot", ["one", "two"], RTX))
    assert "it gives no reason" in str(builder.refusal("cannot", [], RTX))


def test_the_progress_monitor_passes_the_answer_on() -> None:
    told: list[int] = []

    def tell(percent: int) -> bool:
        told.append(percent)
        return len(told) < 2

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor = builder._monitor(RTX, tell)
    monitor.phase_start("all", None, 4)
    assert monitor.step_complete("all", 0)
    assert not monitor.step_complete("all", 1)
    monitor.phase_finish("all")
    assert told == [25, 50]

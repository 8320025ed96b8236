"""CI systems read one case for each gate, whatever the texts hold."""

from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from pipeline.gates.judge import Verdict
from pipeline.report import junit
from pipeline.report.records import Report
from tests.measurements import changed

Make = Callable[..., Report]
BOUNDS = ("gates.speedup.min=5", "gates.engine_bytes.max=9", "gates.onnx_top1_drop.max=0.1")
MIXED = ("gates={}", *BOUNDS)


def counts(text: str) -> dict[str, str | None]:
    suite = ET.fromstring(text.partition("\n")[2]).find("testsuite")  # noqa: S314  (our own text)
    assert suite is not None
    return {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}


def test_junit_counts_verdicts_of_every_kind(report: Make) -> None:
    skipped = {"verdict": "skipped", "value": None, "interval": None, "is_elsewhere": True}
    mixed = changed(report(*MIXED), "gates.2", **skipped)
    assert counts(junit.render(mixed)) == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }


def test_junit_gives_each_gate_its_figures(report: Make) -> None:
    text = junit.render(report("gates.speedup.min=50"))
    root = ET.fromstring(text.partition("\n")[2])  # noqa: S314  (our own text)
    case = root.find("testsuite/testcase[@name='speedup']")
    assert case is not None
    properties = {field.get("name"): field.get("value") for field in case.iter("property")}
    assert properties == {
        "value": "5.0",
        "low": "4.6",
        "high": "5.4",
        "threshold": "50.0",
        "confidence": "0.95",
        "n": "400",
        "severity": "error",
    }
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == "5 in [4.6, 5.4], wanted at least 50, n = 400"


def test_junit_of_a_failed_stage_is_an_error_with_its_message(
    failed: Callable[[str], Report],
) -> None:
    text = junit.render(failed("no <luck> & no more"))
    assert counts(text) == {"tests": "1", "failures": "0", "errors": "1", "skipped": "0"}
    assert "no &lt;luck&gt; &amp; no more" in text


@pytest.mark.parametrize("text", ["\x1b[31mred\x1b[0m", "a\0b", "\ufffe", "two\nlines"])
def test_junit_is_xml_whatever_a_stage_writes(failed: Callable[[str], Report], text: str) -> None:
    assert counts(junit.render(failed(text)))["errors"] == "1"


def test_junit_passes_a_gate_that_only_warns_with_its_warning_as_output(report: Make) -> None:
    warned = changed(report("gates={}", "gates.speedup.min=50"), "gates.0", severity="warn")
    text = junit.render(warned)
    assert counts(text) == {"tests": "1", "failures": "0", "errors": "0", "skipped": "0"}
    assert "<system-out>warning: fail: 5 in [4.6, 5.4]" in text


def test_a_gate_on_what_was_not_measured_is_an_error(report: Make) -> None:
    skipped = Verdict(name="speedup", verdict="skipped")
    assert counts(junit.render(changed(report(), gates=[skipped]))) == {
        "tests": "1",
        "failures": "0",
        "errors": "1",
        "skipped": "0",
    }


def test_junit_says_whether_the_student_is_data_free(report: Make, on_unlabelled: Report) -> None:
    for document, begin in ((report(), "data-free"), (on_unlabelled, "not data-free")):
        root = ET.fromstring(junit.render(document).partition("\n")[2])  # noqa: S314  (our own text)
        statement = root.find("testsuite/properties/property[@name='real_images']")
        assert statement is not None
        assert (statement.get("value") or "").startswith(f"{begin}: ")

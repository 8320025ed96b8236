"""Figures for services that follow them over time, in the shapes that those publish."""

import json
from collections.abc import Callable

import jsonschema
import pytest

from pipeline.report import benchmarks
from pipeline.report.figures import figures_of
from pipeline.report.records import Report
from tests.measurements import MEASURED, changed

METRIC_FORMAT = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "propertyNames": {"maxLength": 64, "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"},
        "additionalProperties": {
            "type": "object",
            "properties": {
                name: {"type": "number"} for name in ("value", "lower_value", "upper_value")
            },
            "required": ["value"],
            "additionalProperties": False,
        },
    },
}
"""Bencher's, with the words that make slugs of names."""
ENTRIES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "unit": {"type": "string"},
            "value": {"type": "number"},
            "range": {"type": "string"},
            "extra": {"type": "string"},
        },
        "required": ["name", "unit", "value"],
        "additionalProperties": False,
    },
}
"""Those of github-action-benchmark's custom tools."""


def test_every_measure_has_its_value_and_its_bounds() -> None:
    figures = {figure.name: figure for figure in figures_of(MEASURED)}
    assert len(figures) == 23
    assert figures["speedup"][2:] == (5.0, 4.6, 5.4, 400, "1", True)
    assert figures["engine_bytes"][2:] == (1000, None, None, 1, "bytes", False)
    assert figures["process_peak_bytes"].value == 10_000
    assert figures["onnx_top1"].value == 531 / 540
    assert "engine_p99_ms" not in figures
    assert figures_of(None) == []


def test_bencher_gets_a_benchmark_for_each_network() -> None:
    document = json.loads(benchmarks.bencher(figures_of(MEASURED)))
    jsonschema.validate(document, METRIC_FORMAT)
    assert document["madpipe/engine"]["p50-ms"] == {
        "value": 0.1,
        "lower_value": 0.09,
        "upper_value": 0.11,
    }
    assert document["madpipe/engine"]["speedup-same-backend"]["value"] == 2.0
    assert document["madpipe/engine"]["bytes"] == {"value": 1000}
    assert document["madpipe/process"] == {"peak-bytes": {"value": 10_000}}
    assert document.keys() == {
        f"madpipe/{name}" for name in ("teacher", "student", "onnx", "engine", "process")
    }


@pytest.mark.parametrize("is_bigger_better", [True, False])
def test_each_direction_has_a_list(
    report: Callable[..., Report], *, is_bigger_better: bool
) -> None:
    figures = figures_of(MEASURED)
    text = benchmarks.github_benchmark(report(), figures, is_bigger_better=is_bigger_better)
    entries = json.loads(text)
    jsonschema.validate(entries, ENTRIES)
    names = {entry["name"]: entry for entry in entries}
    assert ("engine_top1" in names) == is_bigger_better
    assert ("engine_p50_ms" in names) != is_bigger_better
    assert not [name for name in names if name.endswith("_drop")]
    if not is_bigger_better:
        assert names["engine_bytes"]["unit"] == "bytes"
        assert "range" not in names["engine_bytes"]
        assert names["engine_p50_ms"]["range"] == "± 0.01"
        extra = names["engine_p50_ms"]["extra"].splitlines()
        assert extra[1] == "bounds 0.09 to 0.11, each at 95%; n = 400"
        assert any(line.startswith("cpu ") for line in extra)


def test_nothing_measured_is_an_empty_document(report: Callable[..., Report]) -> None:
    assert json.loads(benchmarks.bencher([])) == {}
    assert json.loads(benchmarks.github_benchmark(report(), [], is_bigger_better=True)) == []


def test_memory_that_the_system_does_not_report_is_left_out() -> None:
    silent = changed(MEASURED, "memory", engine_resident_bytes=None, process_peak_bytes=None)
    names = {figure.name for figure in figures_of(silent)}
    assert not {"engine_resident_bytes", "process_peak_bytes"} & names

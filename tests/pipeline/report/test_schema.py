"""The published JSON Schema is that of the records, and describes every report."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import msgspec
import pytest
from packaging.version import Version

from pipeline.project import Project
from pipeline.report import records
from pipeline.report.document import document
from pipeline.report.records import Report
from pipeline.run_pipeline import run_pipeline
from scripts import report_schema

SCHEMA = json.loads(report_schema.PATH.read_text(encoding="utf-8"))
CHECK = jsonschema.Draft202012Validator(SCHEMA)

Make = Callable[..., Report]


def in_json(report: Report) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(records.to_json(report))
    return document


@pytest.mark.skipif(
    Version(msgspec.__version__) < Version("0.22"),
    reason="msgspec before 0.22 words schemas otherwise",
)
def test_the_file_is_the_schema_of_the_records() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert report_schema.report_schema() == SCHEMA, "run scripts/report_schema.py"


def test_a_whole_report_is_as_the_schema_has_it(report: Make) -> None:
    CHECK.validate(in_json(report()))


def test_a_report_of_a_failed_run_is_as_the_schema_has_it(
    failed: Callable[[str], Report],
) -> None:
    CHECK.validate(in_json(failed("no luck")))


def test_a_report_without_measurements_is_as_the_schema_has_it(
    project: Callable[..., Project],
) -> None:
    opened = project()
    run_pipeline(opened, ["distill"], force=(), sinks=[], command="run", inconclusive=4)
    CHECK.validate(in_json(document(opened)))


def test_a_report_on_the_bank_is_as_the_schema_has_it(on_the_bank: Report) -> None:
    CHECK.validate(in_json(on_the_bank))


PLACES: list[tuple[str | int, ...]] = [
    (),
    ("run",),
    ("stages", 0),
    ("set",),
    ("accuracy", "teacher", "calibration"),
    ("latency",),
    ("latency", "batches", 0),
    ("engine",),
    ("gates", 0),
]


@pytest.mark.parametrize("path", PLACES)
def test_an_unknown_field_is_refused(report: Make, path: tuple[str | int, ...]) -> None:
    whole = in_json(report())
    place: Any = whole
    for step in path:
        place = place[step]
    place["no_such_field"] = 1
    with pytest.raises(jsonschema.ValidationError):
        CHECK.validate(whole)


@pytest.mark.parametrize(
    ("path", "name"), [((), "set"), (("latency",), "speedup"), (("gates", 0), "interval")]
)
def test_a_missing_field_is_refused(report: Make, path: tuple[str | int, ...], name: str) -> None:
    whole = in_json(report())
    place: Any = whole
    for step in path:
        place = place[step]
    del place[name]
    with pytest.raises(jsonschema.ValidationError, match=name):
        CHECK.validate(whole)

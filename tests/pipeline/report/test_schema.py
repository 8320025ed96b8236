"""The published JSON Schema describes the document, and leaves nothing of it out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pipeline.project import Project
from pipeline.report.document import document
from pipeline.run_pipeline import run_pipeline

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "docs" / "report.schema.json").read_text(encoding="utf-8")
)
CHECK = jsonschema.Draft202012Validator(SCHEMA)

Report = Callable[..., dict[str, Any]]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_whole_report_is_as_the_schema_says(report: Report) -> None:
    CHECK.validate(report())


def test_a_report_of_a_failed_run_is_as_the_schema_says(
    failed: Callable[[str], dict[str, Any]],
) -> None:
    CHECK.validate(failed("no luck"))


def test_a_report_without_measurements_is_as_the_schema_says(
    project: Callable[..., Project],
) -> None:
    opened = project()
    run_pipeline(opened, ["distill"], force=(), sinks=[], command="run", inconclusive=4)
    CHECK.validate(document(opened))


def test_a_report_on_the_bank_is_as_the_schema_says(
    project: Callable[..., Project], measured: dict[str, Any]
) -> None:
    measured["set"]["kind"] = "bank"
    bank = measured | {"accuracy": {}, "agreement": {}, "paired": {}}
    bank["bank_agreement"] = measured["agreement"]
    opened = project(measured=bank)
    run_pipeline(opened, ["all"], force=(), sinks=[], command="run", inconclusive=4)
    CHECK.validate(document(opened))


@pytest.mark.parametrize(
    "path", [(), ("run",), ("stages", 0), ("latency",), ("latency", "batches", 0), ("gates", 0)]
)
def test_a_field_that_the_schema_does_not_know_is_refused(
    report: Report, path: tuple[str | int, ...]
) -> None:
    made = report()
    place: Any = made
    for each in path:
        place = place[each]
    place["no_such_field"] = 1
    with pytest.raises(jsonschema.ValidationError, match="no_such_field"):
        CHECK.validate(made)

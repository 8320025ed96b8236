"""The report document has the fields that others rely on, from records alone."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import StageError, StoreError
from pipeline.project import Project
from pipeline.report.document import document
from pipeline.run_pipeline import run_pipeline

Open = Callable[..., Project]


def bring(project: Project, *targets: str) -> None:
    run_pipeline(
        project, targets or ("all",), force=(), sinks=[], command="run all", inconclusive=4
    )


@pytest.fixture
def report(project: Open) -> dict[str, Any]:
    opened = project()
    bring(opened)
    return document(opened)


def test_document_has_exactly_these_fields(report: dict[str, Any]) -> None:
    assert list(report) == [
        "schema",
        "run",
        "stages",
        "set",
        "accuracy",
        "agreement",
        "bank_agreement",
        "paired",
        "latency",
        "memory",
        "engine",
        "candidates",
        "curves",
        "gates",
        "environment",
        "measured_on",
    ]
    assert report["schema"] == "madpipe.report/1"
    assert set(report["run"]) == {"command", "started_utc", "elapsed_s"}


def test_stage_has_exactly_these_fields(report: dict[str, Any]) -> None:
    names = {"name", "status", "key", "seconds", "outputs"}
    more = {"elapsed_s", "metrics", "created_utc", "host"}
    assert [set(stage) for stage in report["stages"]] == [names | more, names | more]
    distill = report["stages"][0]
    assert (distill["name"], distill["status"], len(distill["key"])) == ("distill", "ran", 64)
    assert set(distill["outputs"]) == {"student", "picture"}
    student = distill["outputs"]["student"]
    assert set(student) == {"path", "sha256", "bytes"}
    assert (len(student["sha256"]), student["bytes"]) == (64, 1)


def test_accuracy_and_latency_have_exactly_these_fields(report: dict[str, Any]) -> None:
    names = {"top1", "hits", "n", "top5", "top5_hits", "calibration", "recall"}
    assert list(report["accuracy"]) == ["teacher", "student", "onnx", "engine"]
    for record in report["accuracy"].values():
        assert set(record) == names
        assert set(record["calibration"]) == {"error", "mean_confidence", "n", "bins"}
    latency = report["latency"]
    assert set(latency) == {
        "teacher",
        "engine",
        "speedup",
        "threads",
        "device",
        "processes",
        "conditions",
        "teacher_engine_absent",
        "batches",
    }
    for side in ("teacher", "engine"):
        names = {"batch", "n", "p50_ms", "p90_ms", "p99_ms", "needs", "causes", "drift"}
        assert set(latency[side]) == names | {"coefficient_of_variation"}
        assert latency[side]["p99_ms"] is None
    assert latency["speedup"] == {
        "median": 5.0,
        "interval": [4.5, 5.5],
        "confidence": 0.95,
        "pairs": 400,
    }
    (batch,) = latency["batches"]
    sides = {"teacher", "teacher_engine", "engine"}
    assert set(batch) == sides | {"batch", "speedup", "speedup_same_backend", "warmup"}


def test_gates_have_exactly_these_fields(report: dict[str, Any]) -> None:
    names = ["name", "verdict", "value", "interval", "threshold", "reason"]
    names += ["severity", "confidence", "n", "needed", "is_elsewhere"]
    assert [list(gate) for gate in report["gates"]] == [names] * 3
    assert [(gate["name"], gate["verdict"]) for gate in report["gates"]] == [
        ("student_top1_drop", "pass"),
        ("engine_top1_drop", "pass"),
        ("speedup", "pass"),
    ]


def test_environment_names_what_the_figures_depend_on(report: dict[str, Any]) -> None:
    names = {"madpipe", "python", "system", "cpu", "torch", "onnxruntime-gpu", "git"}
    assert names <= report["environment"].keys()


def test_seconds_of_a_hit_are_those_of_its_run(project: Open) -> None:
    opened = project()
    bring(opened)
    first = document(opened)["stages"]
    bring(opened)
    second = document(opened)["stages"]
    assert [stage["status"] for stage in second] == ["hit", "hit"]
    assert [stage["seconds"] for stage in second] == [stage["seconds"] for stage in first]


def test_report_before_any_run_says_what_to_do(project: Open) -> None:
    opened = project()
    with pytest.raises(StoreError) as caught:
        document(opened)
    assert str(caught.value) == (
        f"{opened.store.home}: holds no run to report (none stored); madpipe run all first"
    )


def test_report_of_a_run_without_validate_has_no_figures(project: Open) -> None:
    opened = project()
    bring(opened)
    bring(opened, "distill")
    report = document(opened)
    assert (report["accuracy"], report["gates"]) == ({}, [])
    assert report["latency"]["batches"] == []


def test_report_of_a_failed_run_names_the_stage_and_the_message(
    project: Open, code: Callable[..., None]
) -> None:
    opened = project()
    bring(opened)
    code("def distill(ctx):\n    raise ValueError('no luck')\n")
    with pytest.raises(StageError):
        bring(opened)
    report = document(opened)
    (stage,) = report["stages"]
    assert (stage["name"], stage["status"], stage["outputs"]) == ("distill", "failed", {})
    assert "no luck" in stage["message"]
    assert report["gates"] == []


def test_report_says_what_the_run_said_until_other_gates_are_asked_for(project: Open) -> None:
    strict = project("gates.speedup.min=50")
    run_pipeline(strict, ["all"], force=(), sinks=[], command="run all", inconclusive=4)
    (said,) = document(project())["gates"]
    assert (said["name"], said["verdict"]) == ("speedup", "fail")
    (asked,) = document(project("gates.speedup.min=1"))["gates"]
    assert asked["verdict"] == "pass"

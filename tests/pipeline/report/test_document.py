"""The report has the fields that others rely on, from records alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pipeline.errors import StageError, StoreError
from pipeline.gates import pictures
from pipeline.project import Project
from pipeline.report import forms, records
from pipeline.report.document import document
from pipeline.run_pipeline import run_pipeline
from scripts.report_schema import report_schema
from tests.measurements import ON_UNLABELLED, USED
from tests.pictures import PICTURES

Open = Callable[..., Project]


def bring(project: Project, *targets: str) -> None:
    run_pipeline(
        project, targets or ("all",), force=(), sinks=[], command="run all", inconclusive=4
    )


@pytest.fixture
def report(project: Open) -> dict[str, Any]:
    opened = project()
    bring(opened)
    report: dict[str, Any] = json.loads(records.to_json(document(opened)))
    return report


def test_report_has_exactly_these_fields(report: dict[str, Any]) -> None:
    assert set(report) == {
        "schema",
        "run",
        "stages",
        "set",
        "accuracy",
        "agreement",
        "bank_agreement",
        "images_agreement",
        "worst_images",
        "real_images",
        "paired",
        "latency",
        "memory",
        "engine",
        "candidates",
        "curves",
        "gates",
        "environment",
        "measured_on",
    }
    assert report["schema"] == "madpipe.report/1"
    assert set(report["run"]) == {"command", "started_utc", "elapsed_s"}


def test_the_answers_for_the_worst_images_are_in_the_report_without_their_pixels(
    project: Open, tmp_path: Path, code: Callable[..., None]
) -> None:
    pictures.write(tmp_path / "pictures.json", PICTURES)
    code(
        "import shutil\n"
        "def distill(ctx):\n"
        "    for name in ('picture', 'student'):\n"
        "        ctx.output(name).write_text('1')\n"
        "def validate(ctx):\n"
        "    shutil.copyfile(ctx.external('measured'), ctx.output('measurements'))\n"
        f"    shutil.copyfile({str(tmp_path / 'pictures.json')!r}, ctx.output('pictures'))\n"
    )
    opened = project()
    distill, validate = opened.stages
    outputs = {**validate.outputs, "pictures": "pictures.json"}
    opened = replace(opened, stages=(distill, replace(validate, outputs=outputs)))
    bring(opened)
    text = records.to_json(document(opened))
    first, second = json.loads(text)["worst_images"]
    assert first == {
        "index": 12,
        "label": "a",
        "answers": {
            "teacher": {"class": "a", "confidence": 0.99, "is_right": True},
            "student": {"class": "b", "confidence": 0.8, "is_right": False},
            "engine": {"class": "b", "confidence": 0.7, "is_right": False},
        },
    }
    assert second["index"] == 3
    assert "iVBOR" not in text
    jsonschema.Draft202012Validator(report_schema()).validate(json.loads(text))


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
        "first_inference",
        "batches",
    }
    for network in ("teacher", "engine"):
        names = {"batch", "n", "p50_ms", "p90_ms", "p99_ms", "needs", "causes", "drift"}
        more = {"coefficient_of_variation", "mean_ms", "processes", "spread"}
        assert set(latency[network]) == names | more
        assert latency[network]["p99_ms"] is None
    assert latency["speedup"] == {
        "median": 5.0,
        "interval": [4.5, 5.5],
        "confidence": 0.95,
        "pairs": 400,
        "processes": 1,
        "spread": 0.0,
    }
    (batch,) = latency["batches"]
    networks = {"teacher", "teacher_engine", "engine"}
    assert set(batch) == networks | {"batch", "speedup", "speedup_same_backend", "warmup"}


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
    first = document(opened).stages
    bring(opened)
    second = document(opened).stages
    assert [stage.status for stage in second] == ["hit", "hit"]
    assert [stage.seconds for stage in second] == [stage.seconds for stage in first]


def test_report_before_any_run_names_the_command(project: Open) -> None:
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
    assert (report.accuracy, report.gates) == ({}, ())
    assert report.latency.batches == ()


def test_report_of_a_failed_run_names_the_stage_and_the_message(
    project: Open, code: Callable[..., None]
) -> None:
    opened = project()
    bring(opened)
    code("def distill(ctx):\n    raise ValueError('no luck')\n")
    with pytest.raises(StageError):
        bring(opened)
    report = document(opened)
    (stage,) = report.stages
    assert (stage.name, stage.status, stage.outputs) == ("distill", "failed", {})
    assert "no luck" in stage.message
    assert report.gates == ()


def test_report_has_the_figures_of_its_run_and_not_of_what_another_used_last(project: Open) -> None:
    opened = project("seed=8")
    bring(opened)
    others = opened.store.newest("validate")
    assert others is not None
    mine = project()
    bring(mine)
    accuracy = document(mine).accuracy
    assert accuracy
    others.output("measurements").chmod(0o644)
    others.output("measurements").write_bytes(b"of another run")
    mine.store.mark_newest("validate", others.record.key)
    report = document(mine)
    assert report.accuracy == accuracy
    assert forms.render("bencher", report, mine)


def test_report_has_the_verdicts_of_its_run_until_other_gates_are_asked_for(project: Open) -> None:
    strict = project("gates={}", "gates.speedup.min=50")
    run_pipeline(strict, ["all"], force=(), sinks=[], command="run all", inconclusive=4)
    (stored,) = document(project()).gates
    assert (stored.name, stored.verdict) == ("speedup", "fail")
    (current,) = document(project("gates={}", "gates.speedup.min=1")).gates
    assert current.verdict == "pass"


CANDIDATES = {
    "schema": "madpipe.candidates/1",
    "max_disagreement": 0.01,
    "images": 1,
    "candidates": [
        {
            "backend": "b", "precision": "int8", "float_layers": [], "disagreement": None,
            "p50_ms": None, "bytes": None, "build_s": None, "verdict": "failed", "reason": "x",
        }
    ],
}  # fmt: skip
CODE = """
def distill(ctx):
    ctx.output("curves").write_text(CURVES)

def build(ctx):
    ctx.output("candidates").write_text(CANDIDATES)
"""


@pytest.mark.parametrize("rounds", [3, 1000])
@pytest.mark.parametrize("is_damaged", [False, True])
def test_curves_and_candidates_are_read_where_they_can_be(
    project: Open, code: Callable[..., None], rounds: int, *, is_damaged: bool
) -> None:
    curves = "".join(f'{{"round": {number}, "loss": 0.5}}\n' for number in range(rounds))
    candidates = json.dumps(CANDIDATES)
    if is_damaged:
        curves, candidates = "round,loss\n1,0.5\n", "[]"
    code(f"CURVES = {curves!r}\nCANDIDATES = {candidates!r}\n{CODE}")
    opened = project()
    distill, validate = opened.stages
    distill = replace(distill, outputs={"curves": "curves.jsonl"})
    build = replace(
        validate,
        name="build",
        run="fakestages:build",
        inputs=("distill/curves",),
        outputs={"candidates": "candidates.json"},
    )
    opened = replace(opened, stages=(distill, build))
    bring(opened)
    report = document(opened)
    if is_damaged:
        assert (report.curves, report.candidates) == ((), ())
        return
    assert [candidate.backend for candidate in report.candidates] == ["b"]
    assert len(report.curves) == min(rounds, 400)
    assert report.curves[0] == {"round": 0, "loss": 0.5}
    assert report.curves[-1]["round"] == rounds - 1


def test_a_distillation_without_images_is_data_free_by_its_declaration(
    report: dict[str, Any],
) -> None:
    assert report["real_images"] == {"learned": 0, "held_back": 0, "weight": 0.0, "id": None}


def test_what_distill_left_of_unlabelled_images_is_reported(on_unlabelled: records.Report) -> None:
    assert on_unlabelled.real_images == USED
    assert on_unlabelled.images_agreement == ON_UNLABELLED.images_agreement

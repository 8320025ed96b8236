"""A run is found by its id, its folder or its report, and only with what it stored."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StoreError, UsageError
from pipeline.gates.measures import SCHEMA
from pipeline.gates.sides import find
from pipeline.project import Project
from pipeline.report.document import document
from pipeline.run_pipeline import run_pipeline

SAMPLES = {
    "schema": SCHEMA,
    "set": {"kind": "held-out", "n": 2, "id": "x"},
    "labels": [0, 1],
    "said": {"student": [0, 1], "engine": [0, 1]},
}
CODE = """
import json, shutil

def distill(ctx):
    ctx.output("student").write_text("x")
    ctx.output("picture").write_text("x")

def validate(ctx):
    shutil.copyfile(ctx.external("measured"), ctx.output("measurements"))
    ctx.output("measurements").with_name("samples.json").write_text(SAMPLES)
"""


@pytest.fixture
def brought(project: Callable[..., Project], code: Callable[..., None]) -> Project:
    """A project whose validate stage also left samples, as the real one does."""
    opened = project()
    validate = opened.stages[1]
    outputs = {**validate.outputs, "samples": "samples.json"}
    code(CODE + f"\nSAMPLES = {json.dumps(SAMPLES)!r}\n")
    from dataclasses import replace

    opened = replace(opened, stages=(opened.stages[0], replace(validate, outputs=outputs)))
    run_pipeline(opened, ["all"], force=(), sinks=[], command="run", inconclusive=4)
    return opened


def test_a_run_is_found_in_every_way(brought: Project, tmp_path: Path) -> None:
    (record,) = brought.store.runs_path.iterdir()
    report = tmp_path / "report.json"
    report.write_text(json.dumps(document(brought)), encoding="utf-8")
    names = (record.stem, record.stem[:12], str(brought.store.home), str(tmp_path), str(report))
    for name in names:
        side = find(name, brought.store)
        assert side.name == name
        assert side.samples == SAMPLES
        assert side.measurements["schema"] == SCHEMA
        assert side.host["cpu"]


def test_files_beside_a_report_come_before_where_they_were(
    brought: Project, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    made = document(brought)
    for name in ("measurements", "samples"):
        output = made["stages"][1]["outputs"][name]
        (kept / f"{name}.json").write_bytes(Path(output["path"]).read_bytes())
        output["path"] = f"/no/such/place/{name}.json"
    (kept / "report.json").write_text(json.dumps(made), encoding="utf-8")
    assert find(str(kept / "report.json"), brought.store).samples == SAMPLES
    (kept / "samples.json").unlink()
    with pytest.raises(StoreError, match=r"samples\.json is neither beside it nor where it was"):
        find(str(kept / "report.json"), brought.store)


def test_a_name_of_nothing_is_refused_with_names_of_something(brought: Project) -> None:
    (record,) = brought.store.runs_path.iterdir()
    with pytest.raises(UsageError, match=rf"no run of that name \(nope\).*{record.stem}"):
        find("nope", brought.store)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "is no report"),
        ("[]", "is no report"),
        ('{"schema": "madpipe.report/9"}', r"is of another version \(madpipe.report/9"),
        ('{"schema": "madpipe.report/1", "stages": []}', "reports no measurements"),
    ],
)
def test_a_file_that_is_no_report_of_measurements_is_refused(
    brought: Project, tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(StoreError, match=message):
        find(str(path), brought.store)


def test_measurements_of_another_schema_version_are_refused(
    project: Callable[..., Project], measured: dict[str, Any]
) -> None:
    opened = project(measured=measured | {"schema": "madpipe.measurements/1"})
    with pytest.raises(StoreError, match=r"another version of madpipe \(madpipe.measurements/1"):
        run_pipeline(opened, ["all"], force=(), sinks=[], command="run", inconclusive=4)
    with pytest.raises(StoreError, match="measure again: madpipe run validate"):
        opened.verdicts()


def test_the_command_judges_by_the_bounds_in_compare(
    brought: Project, madpipe: Callable[..., tuple[int, str, str]]
) -> None:
    (record,) = brought.store.runs_path.iterdir()
    bound = ("--set", "compare.engine_bytes_ratio.max=1")
    code, out, err = madpipe("compare", record.stem, ".", *bound)
    assert (code, err) == (0, "")
    assert (
        out == "gate      pass         engine_bytes_ratio: 1 in [1, 1], wanted at most 1, n = 1\n"
    )
    bound = ("--set", "compare.engine_bytes_ratio.max=0.9")
    code, out, _ = madpipe("compare", record.stem, ".", *bound, "--json")
    assert code == 3
    assert json.loads(out)["verdict"] == "fail"


def test_the_command_refuses_a_run_that_there_is_not(
    brought: Project, madpipe: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = madpipe("compare", "nope", str(brought.store.home))
    assert (code, out) == (2, "")
    assert err.startswith("compare: no run of that name (nope); give a path, or one of ")

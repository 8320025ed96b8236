"""One run against another: pairs where images are the same, speed-ups where the teacher is.

A run is named by its id, its folder or its report, and only with what it stored.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StoreError, UsageError
from pipeline.gates.compare import compare
from pipeline.gates.judge import Verdict
from pipeline.gates.measurements import Measurements
from pipeline.gates.measures import COMPARED
from pipeline.gates.pairs import ratio_estimate
from pipeline.gates.stored_runs import Run, find_run
from pipeline.project import Project
from pipeline.report import records
from pipeline.report.document import document
from pipeline.run_pipeline import run_pipeline
from pipeline.settings import DEFAULT_COMPARE, CompareGate
from tests.measurements import MEASURED, NOT_RUN, SAMPLES, changed, ratio


def run(measurements: Measurements = MEASURED, wrong: int = 0, **changes: Any) -> Run:
    predictions = [1] * wrong + [0] * (500 - wrong)
    samples = changed(
        SAMPLES, labels=[0] * 500, said={"engine": predictions, "student": predictions}
    )
    host = {"cpu": "one", "cores": "2"}
    whole = Run(
        name="run", measurements=measurements, samples=samples, teacher_sha256="t", host=host
    )
    return replace(whole, **changes)


def one(base: Run, head: Run, name: str, gate: CompareGate) -> Verdict:
    (verdict,) = compare(base, head, {name: gate})
    return verdict


def test_a_run_against_itself_passes_every_default() -> None:
    measured = changed(MEASURED, "latency.batches.0", speedup=ratio(5.0, 4.9, 5.1))
    for verdict in compare(run(measured), run(measured), DEFAULT_COMPARE):
        assert verdict.verdict == "pass"


@pytest.mark.parametrize(("wrong", "verdict"), [(0, "pass"), (4, "inconclusive"), (40, "fail")])
def test_accuracy_is_paired_image_by_image(wrong: int, verdict: str) -> None:
    judged = one(run(), run(wrong=wrong), "engine_top1_drop", CompareGate(max=0.01))
    assert (judged.verdict, judged.value, judged.n) == (verdict, wrong / 500, 500)


def test_a_slower_engine_fails_by_its_speed_up_over_the_same_teacher() -> None:
    slower = run(changed(MEASURED, "latency.batches.0", speedup=ratio(2.5, 2.4, 2.6)))
    judged = one(run(), slower, "latency_ratio", CompareGate(max=1.1))
    assert (judged.verdict, judged.value) == ("fail", 2.0)
    faster = one(slower, run(), "latency_ratio", CompareGate(max=1.1))
    assert (faster.verdict, faster.value) == ("pass", 0.5)


def test_bounds_of_two_sessions_add_in_quadrature() -> None:
    one_percent = ratio(2.0, 1.98, 2.02)
    estimate = ratio_estimate(one_percent, one_percent, 0.95)
    assert estimate.value == 1.0
    assert estimate.bounds == pytest.approx((1 - 0.0141, 1 + 0.0141), abs=3e-4)


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("latency_ratio", {"teacher_sha256": "other"}, "the teachers differ"),
        ("latency_ratio", {"host": {"cpu": "two", "cores": "2"}}, r"different machines (cpu"),
        ("latency_ratio", {"measurements": NOT_RUN}, "a run measured no latency"),
        (
            "latency_ratio",
            {"measurements": changed(MEASURED, "latency", threads=4)},
            "measured with another threads (1, 4)",
        ),
        (
            "engine_top1_drop",
            {"samples": changed(SAMPLES, said={})},
            "measured no accuracy of the engine",
        ),
        (
            "student_top1_drop",
            {"samples": changed(SAMPLES, labels=None)},
            "measured no accuracy of the student",
        ),
        (
            "student_top1_drop",
            {"samples": changed(SAMPLES, "set", id="5" * 64)},
            "saw other images",
        ),
    ],
)
def test_what_cannot_be_compared_is_skipped_with_the_reason(
    name: str, changes: dict[str, Any], reason: str
) -> None:
    judged = one(run(), run(**changes), name, CompareGate(max=1.0))
    assert judged.verdict == "skipped"
    assert reason in judged.reason


def test_teachers_in_two_versions_of_torch_are_not_compared() -> None:
    hosts = [{"cpu": "one", "cores": "2", "torch": version} for version in ("1", "2")]
    judged = one(run(host=hosts[0]), run(host=hosts[1]), "latency_ratio", CompareGate(max=1.0))
    assert "different versions of torch (1, 2)" in judged.reason


@pytest.mark.parametrize("name", sorted(COMPARED))
def test_every_measure_of_a_comparison_is_judged(name: str) -> None:
    assert one(run(), run(), name, CompareGate(max=2.0)).verdict == "pass"


def test_a_run_is_named_in_every_way(stored_with_samples: Project, tmp_path: Path) -> None:
    (record,) = stored_with_samples.store.runs_path.iterdir()
    report = tmp_path / "report.json"
    report.write_text(records.to_json(document(stored_with_samples)), encoding="utf-8")
    names = (
        record.stem,
        record.stem[:12],
        str(stored_with_samples.store.home),
        str(tmp_path),
        str(report),
    )
    for name in names:
        named = find_run(name, stored_with_samples.store)
        assert named.name == name
        assert (named.samples, named.measurements) == (SAMPLES, MEASURED)
        assert named.host["cpu"]


def test_files_beside_a_report_come_before_where_they_were(
    stored_with_samples: Project, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    report = json.loads(records.to_json(document(stored_with_samples)))
    for name in ("measurements", "samples"):
        output = report["stages"][1]["outputs"][name]
        (kept / f"{name}.json").write_bytes(Path(output["path"]).read_bytes())
        output["path"] = f"/no/such/place/{name}.json"
    (kept / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assert find_run(str(kept / "report.json"), stored_with_samples.store).samples == SAMPLES
    (kept / "samples.json").unlink()
    with pytest.raises(StoreError, match=r"samples\.json is neither beside it nor where it was"):
        find_run(str(kept / "report.json"), stored_with_samples.store)


def test_a_name_of_nothing_is_refused_with_names_of_something(stored_with_samples: Project) -> None:
    (record,) = stored_with_samples.store.runs_path.iterdir()
    with pytest.raises(UsageError, match=rf"no run of that name \(nope\).*{record.stem}"):
        find_run("nope", stored_with_samples.store)


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
    stored_with_samples: Project, tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(StoreError, match=message):
        find_run(str(path), stored_with_samples.store)


def test_measurements_of_another_schema_version_are_refused(
    project: Callable[..., Project],
) -> None:
    opened = project(measured=b'{"schema": "madpipe.measurements/1"}')
    with pytest.raises(StoreError, match=r"another version of madpipe \(madpipe.measurements/1"):
        run_pipeline(opened, ["all"], force=(), sinks=[], command="run", inconclusive=4)
    with pytest.raises(StoreError, match="measure again: madpipe run validate"):
        opened.verdicts()


def test_the_command_judges_by_the_bounds_in_compare(
    stored_with_samples: Project, madpipe: Callable[..., tuple[int, str, str]]
) -> None:
    (record,) = stored_with_samples.store.runs_path.iterdir()
    bound = ("--set", "compare={}", "--set", "compare.engine_bytes_ratio.max=1")
    code, out, err = madpipe("compare", record.stem, ".", *bound)
    assert (code, err) == (0, "")
    assert (
        out == "gate      pass         engine_bytes_ratio: 1 in [1, 1], wanted at most 1, n = 1\n"
    )
    bound = ("--set", "compare={}", "--set", "compare.engine_bytes_ratio.max=0.9")
    code, out, _ = madpipe("compare", record.stem, ".", *bound, "--json")
    assert code == 3
    assert json.loads(out)["verdict"] == "fail"


def test_the_command_refuses_a_run_that_there_is_not(
    stored_with_samples: Project, madpipe: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = madpipe("compare", "nope", str(stored_with_samples.store.home))
    assert (code, out) == (2, "")
    assert err.startswith("compare: no run of that name (nope); give a path, or one of ")


def test_a_run_whose_record_or_entry_is_damaged_is_refused(stored_with_samples: Project) -> None:
    entry = stored_with_samples.store.newest("validate")
    assert entry is not None
    entry.output("samples").chmod(0o644)
    entry.output("samples").write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match="is damaged"):
        find_run(str(stored_with_samples.store.home), stored_with_samples.store)
    (record,) = stored_with_samples.store.runs_path.iterdir()
    record.write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match="is no record of a run"):
        find_run(record.stem, stored_with_samples.store)


def test_a_folder_without_measurements_is_refused(
    stored_with_samples: Project, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(StoreError, match=r"holds no measurements \(none stored\)"):
        find_run(str(tmp_path / "other"), stored_with_samples.store)

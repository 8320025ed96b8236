"""One run against another: pairs where images are the same, speed-ups where the teacher is."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StoreError
from pipeline.gates.compare import Side, compare, ratio_estimate, read_samples
from pipeline.gates.judge import Verdict
from pipeline.gates.measures import COMPARED, SCHEMA
from pipeline.settings import DEFAULT_COMPARE, Gate

LABELS = [0] * 500


def side(measured: dict[str, Any], wrong: int = 0, **changes: Any) -> Side:
    said = [1] * wrong + [0] * (500 - wrong)
    samples = {
        "schema": SCHEMA,
        "set": {"id": "same"},
        "labels": LABELS,
        "said": {"engine": said, "student": said},
    }
    host = {"cpu": "one", "cores": "2"}
    made = Side(name="run", measurements=measured, samples=samples, teacher_sha256="t", host=host)
    return replace(made, **changes)


def one(base: Side, head: Side, name: str, gate: Gate) -> Verdict:
    (verdict,) = compare(base, head, {name: gate})
    return verdict


def test_a_run_against_itself_passes_every_default(measured: dict[str, Any]) -> None:
    ratio = measured["latency"]["batches"][0]["speedup"]
    ratio["quantiles"] = {"0.05": 4.9, "0.95": 5.1}
    for verdict in compare(side(measured), side(measured), DEFAULT_COMPARE):
        assert verdict.verdict == "pass"


@pytest.mark.parametrize(("wrong", "verdict"), [(0, "pass"), (4, "inconclusive"), (40, "fail")])
def test_accuracy_is_paired_image_by_image(
    measured: dict[str, Any], wrong: int, verdict: str
) -> None:
    found = one(side(measured), side(measured, wrong), "engine_top1_drop", Gate(max=0.01))
    assert (found.verdict, found.value, found.n) == (verdict, wrong / 500, 500)


def test_a_slower_engine_fails_by_its_speed_up_over_the_same_teacher(
    measured: dict[str, Any],
) -> None:
    slower = json.loads(json.dumps(measured))
    ratio = slower["latency"]["batches"][0]["speedup"]
    ratio |= {"median": 2.5, "quantiles": {"0.05": 2.4, "0.95": 2.6}}
    found = one(side(measured), side(slower), "latency_ratio", Gate(max=1.1))
    assert (found.verdict, found.value) == ("fail", 2.0)
    faster = one(side(slower), side(measured), "latency_ratio", Gate(max=1.1))
    assert (faster.verdict, faster.value) == ("pass", 0.5)


def test_bounds_of_two_sessions_add_in_quadrature() -> None:
    one_percent = {"median": 2.0, "pairs": 400, "quantiles": {"0.05": 1.98, "0.95": 2.02}}
    found = ratio_estimate(one_percent, one_percent, 0.95)
    assert found.value == 1.0
    assert found.bounds == pytest.approx((1 - 0.0141, 1 + 0.0141), abs=3e-4)


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("latency_ratio", {"teacher_sha256": "other"}, "the teachers differ"),
        ("latency_ratio", {"host": {"cpu": "two", "cores": "2"}}, r"different machines (cpu"),
        ("latency_ratio", {"measurements": {}}, "a run measured no latency"),
        ("engine_bytes_ratio", {"measurements": {}}, "a run measured no engine"),
        ("engine_top1_drop", {"samples": {"said": {}}}, "measured no accuracy of the engine"),
    ],
)
def test_what_cannot_be_compared_is_skipped_with_the_reason(
    measured: dict[str, Any], name: str, changes: dict[str, Any], reason: str
) -> None:
    found = one(side(measured), side(measured, **changes), name, Gate(max=1.0))
    assert found.verdict == "skipped"
    assert reason in found.reason


def test_runs_on_other_images_are_no_pairs(measured: dict[str, Any]) -> None:
    other = side(measured)
    other = replace(other, samples={**other.samples, "set": {"id": "other"}})
    found = one(side(measured), other, "student_top1_drop", Gate(max=0.1))
    assert (found.verdict, "saw other images" in found.reason) == ("skipped", True)


@pytest.mark.parametrize("name", sorted(COMPARED))
def test_every_measure_of_a_comparison_is_judged(measured: dict[str, Any], name: str) -> None:
    assert one(side(measured), side(measured), name, Gate(max=2.0)).verdict == "pass"


def test_samples_that_are_none_or_of_another_schema_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.json"
    with pytest.raises(StoreError, match="holds no samples"):
        read_samples(path)
    path.write_text('{"schema": "madpipe.measurements/1"}', encoding="utf-8")
    with pytest.raises(StoreError, match="another version of madpipe"):
        read_samples(path)

"""Figures that follow their schema and that nothing measures are refused where they are read."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StoreError
from pipeline.gates import measurement_files
from pipeline.gates.measurements import Measurements, Samples
from tests.measurements import MEASURED, SAMPLES, changed

_BATCH = "latency.batches.0"


@pytest.mark.parametrize(
    ("place", "changes", "words"),
    [
        ("", {"engine_bytes": 0}, "engine_bytes is 0"),
        ("accuracy.engine", {"hits": 541}, "accuracy of engine: 541 of 540"),
        ("accuracy.engine", {"n": 0, "hits": 0}, "accuracy of engine: 0 of 0"),
        ("accuracy.engine", {"top5_hits": 600}, "top-5 accuracy of engine: 600 of 540"),
        ("accuracy.engine.calibration", {"quantiles": {}}, "calibration of engine: no quantiles"),
        (
            "accuracy.engine.calibration",
            {"quantiles": {"half": 0.5}},
            "calibration of engine: 0.5 as its quantile half",
        ),
        ("agreement.student", {"n": 0, "hits": 0}, "agreement of student: 0 of 0"),
        ("paired.student", {"lost": 300, "gained": 300}, "paired drop of student: 600 of 540"),
        ("paired.student", {"top5_lost": 541}, "paired top-5 drop of student: 541 of 540"),
        ("latency", {"batches": []}, "latency has no batch size"),
        (_BATCH, {"batch": 0}, "a batch size is 0"),
        (f"{_BATCH}.engine", {"p50_ms": -1.0}, "batch 1, engine, p50_ms: -1"),
        (f"{_BATCH}.engine", {"n": 0}, "batch 1, engine: 0 of 0"),
        (f"{_BATCH}.engine", {"processes": 0}, "batch 1, engine: no process"),
        (f"{_BATCH}.engine", {"spread": 1e6}, r"batch 1, engine: a spread of 1e\+06"),
        (f"{_BATCH}.speedup", {"median": 0.0}, "batch 1, speedup: 0"),
        (f"{_BATCH}.speedup", {"interval": [0.0, 2.0]}, "batch 1, speedup: 0"),
        (f"{_BATCH}.speedup", {"quantiles": {"2": 5.0}}, "5 as its quantile 2"),
        ("latency.first_inference", {"times_ms": [0.0]}, "first inference: 0"),
        ("memory", {"process_peak_bytes": 2**60}, "memory.process_peak_bytes has 19 digits"),
    ],
)
def test_measurements_that_nothing_measures_are_refused(
    tmp_path: Path, place: str, changes: dict[str, Any], words: str
) -> None:
    path = tmp_path / "m.json"
    measurement_files.write(path, changed(MEASURED, place, **changes))
    wrong = rf"m\.json: holds figures that nothing measures \(.*{words}\); measure again"
    with pytest.raises(StoreError, match=wrong):
        measurement_files.read(path, Measurements)


@pytest.mark.parametrize(
    ("place", "changes", "words"),
    [
        ("", {"labels": [0]}, "labels has 1 of 2 images"),
        ("said", {"engine": [0, 1, 1]}, "engine has 3 of 2 images"),
        ("", {"labels": [0, -1]}, "class -1"),
        ("latency.batches.1", {"engine_ms": [-2.0]}, "a call: -2"),
    ],
)
def test_samples_that_nothing_measures_are_refused(
    tmp_path: Path, place: str, changes: dict[str, Any], words: str
) -> None:
    path = tmp_path / "m.json"
    measurement_files.write(path, changed(SAMPLES, place, **changes))
    with pytest.raises(StoreError, match=rf"figures that nothing measures \({words}\)"):
        measurement_files.read(path, Samples)


@pytest.mark.parametrize(
    ("place", "changes", "words"),
    [("accuracy.engine", {"hits": -1}, ">= 0"), ("accuracy.engine", {"top1": 1.5}, "<= 1.0")],
)
def test_counts_and_shares_beyond_their_range_are_refused(
    tmp_path: Path, place: str, changes: dict[str, Any], words: str
) -> None:
    path = tmp_path / "m.json"
    measurement_files.write(path, MEASURED)
    document = path.read_text(encoding="utf-8")
    network = place.partition(".")[2]
    ((name, value),) = changes.items()
    before = getattr(MEASURED.accuracy[network], name)
    path.write_text(document.replace(f'"{name}": {before}', f'"{name}": {value}'), encoding="utf-8")
    with pytest.raises(StoreError, match=rf"holds no measurements \(Expected .* {words}"):
        measurement_files.read(path, Measurements)

"""Measurements are written and read back as they are, or refused with what to do."""

import json
from pathlib import Path

import msgspec
import pytest

from pipeline.errors import StoreError
from pipeline.gates import measurement_files
from pipeline.gates.measurement_files import read
from pipeline.gates.measurements import SCHEMA, Measurements, Samples
from tests.measurements import MEASURED, NOT_RUN, ON_THE_BANK, SAMPLES, changed


@pytest.mark.parametrize("document", [MEASURED, ON_THE_BANK, NOT_RUN])
def test_measurements_are_read_as_they_were_written(tmp_path: Path, document: Measurements) -> None:
    path = tmp_path / "m.json"
    measurement_files.write(path, document)
    assert read(path, Measurements) == document


def test_samples_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    measurement_files.write(path, SAMPLES)
    assert read(path, Samples) == SAMPLES


def test_the_json_names_its_schema_and_leaves_out_what_is_absent() -> None:
    document = msgspec.to_builtins(MEASURED)
    assert document["schema"] == SCHEMA
    assert "engine_absent" not in document
    assert "top5_lost" in document["paired"]["student"]
    assert document["latency"]["batches"][0]["engine"]["p99_ms"] is None
    assert document["accuracy"]["engine"]["recall"][0]["class"] == "a"
    assert msgspec.to_builtins(NOT_RUN)["latency"] is None
    assert "labels" not in msgspec.to_builtins(changed(SAMPLES, labels=None))
    assert msgspec.to_builtins(SAMPLES)["said"]["engine"] == (0, 1)


def test_a_number_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    nan = changed(MEASURED, "latency.batches.0.speedup", median=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        measurement_files.write(tmp_path / "m.json", nan)


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", None, json.dumps({"schema": SCHEMA}), json.dumps({"schema": 2})]
)
def test_what_is_none_is_refused_with_the_remedy(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "m.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    remedy = "measure again: madpipe run validate"
    with pytest.raises(StoreError, match=rf"m\.json: holds no samples \(.*\); {remedy}"):
        read(path, Samples)


def test_another_version_is_named_beside_this_one(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"schema": "madpipe.measurements/1"}), encoding="utf-8")
    with pytest.raises(StoreError, match=rf"\(madpipe.measurements/1, this one reads {SCHEMA}\)"):
        read(path, Measurements)

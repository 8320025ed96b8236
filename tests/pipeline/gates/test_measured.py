"""What validate stored is read back, or refused with what to do."""

import json
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.gates.measured import read_measured
from pipeline.gates.measures import SCHEMA


def test_a_document_of_this_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"schema": SCHEMA, "x": 1}), encoding="utf-8")
    assert read_measured(path, "samples", remedy="go")["x"] == 1


@pytest.mark.parametrize("text", ["", "[1]", "{", None])
def test_what_is_none_is_refused_with_the_remedy(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "m.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=r"m\.json: holds no samples \(.*\); go"):
        read_measured(path, "samples", remedy="go")


def test_another_version_is_named_beside_this_one(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"schema": "madpipe.measurements/1"}), encoding="utf-8")
    with pytest.raises(StoreError, match=rf"\(madpipe.measurements/1, this one reads {SCHEMA}\)"):
        read_measured(path, "measurements", remedy="go")

"""What an engine takes is noted; what is no engine is refused (more in the tests of validate)."""

import json
from pathlib import Path

import pytest

from pipeline.errors import StageError
from stages.engines.open_engine import read_manifest
from stages.validate.open_engine import open_here, sizes
from tests.stages.tiny import TinyRun


def test_sizes_of_an_engine_are_those_of_its_file(tiny: TinyRun) -> None:
    path = tiny.path("build/engine")
    manifest = read_manifest(tiny.path("build/manifest"), path)
    engine = open_here(manifest, path, threads=1)
    told = sizes(manifest, path, engine.resident_bytes)
    assert told["engine_bytes"] == tiny.path("build/engine").stat().st_size
    stored = json.loads(tiny.path("build/manifest").read_bytes())
    assert json.loads(json.dumps(told["engine"])) == stored
    grown = told["memory"]["engine_resident_bytes"]
    assert grown is None or grown >= 0


def test_another_file_than_the_manifest_describes_is_refused(tiny: TinyRun, tmp_path: Path) -> None:
    (tmp_path / "engine.onnx").write_bytes(b"something else")
    with pytest.raises(StageError, match="is not the one that its manifest describes"):
        read_manifest(tiny.path("build/manifest"), tmp_path / "engine.onnx")

"""Manifests that describe no engine here; loading itself is tested with the sessions."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.errors import StageError, UsageError
from pipeline.gates.build_records import EngineManifest
from stages.engines.open_engine import check_folder, read_folder, read_manifest


def _write(folder: Path, **changes: Any) -> Path:
    (folder / "e").write_bytes(b"engine")
    values: dict[str, Any] = {
        "backend": "onnxruntime", "backend_version": "1", "device": "cpu", "precision": "fp32",
        "engine": "e", "sha256": hashlib.sha256(b"engine").hexdigest(), "onnx_sha256": "1",
    }  # fmt: skip
    (folder / "manifest.json").write_bytes(msgspec.json.encode(EngineManifest(**values | changes)))
    return folder


def test_a_folder_gives_its_manifest_and_engine(tmp_path: Path) -> None:
    manifest, engine = read_folder(_write(tmp_path), "--engine")
    assert (manifest.engine, engine) == ("e", tmp_path / "e")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "is not the one that its manifest describes"),
        ({"backend": "abacus"}, r"no known backend \(abacus\)"),
        ({"engine": "gone"}, "its gone is missing"),
        ({"engine": "../e"}, "leads out of the folder"),
    ],
)
def test_a_manifest_that_does_not_describe_the_engine_is_refused(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(StageError, match=message):
        read_folder(_write(tmp_path, **changes), "--engine")


def test_a_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"^--engine: has no manifest\.json"):
        read_folder(tmp_path, "--engine")
    (tmp_path / "manifest.json").write_bytes(b"{")
    with pytest.raises(StageError, match="has no sound manifest"):
        read_folder(tmp_path, "--engine")
    with pytest.raises(StageError, match="cannot be read"):
        read_manifest(tmp_path / "manifest.json", tmp_path / "e")


@pytest.mark.parametrize("name", ["manifest.json", "engine.onnx", "candidates.json"])
def test_files_of_another_program_are_not_written_over(tmp_path: Path, name: str) -> None:
    names = ("engine.onnx", "manifest.json", "candidates.json")
    check_folder(tmp_path / "new", names)
    check_folder(tmp_path, names)
    (tmp_path / name).write_text('{"mine": true}', encoding="utf-8")
    with pytest.raises(UsageError, match=rf"^--out: holds a {name} that madpipe did not write"):
        check_folder(tmp_path, names)
    with pytest.raises(UsageError, match=r"^--out: is a file of that name"):
        check_folder(tmp_path / name, names)


def test_an_engine_of_ours_is_built_over(tmp_path: Path) -> None:
    check_folder(_write(tmp_path), ("manifest.json", "e"))

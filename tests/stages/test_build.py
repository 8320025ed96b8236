"""The build stage: an engine and the manifest that describes it."""

import hashlib
import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from pipeline import machine
from pipeline.errors import StageError, UnavailableError
from pipeline.settings import Build
from stages import standalone
from stages.engines.base import BACKENDS
from tests.stages.tiny import Brought


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_manifest_describes_the_engine_and_the_onnx_file(tiny: Brought) -> None:
    manifest = json.loads(tiny.path("build/manifest").read_bytes())
    engine = tiny.path("build/engine")
    assert manifest["engine"] == engine.name
    assert manifest["sha256"] == _sha256(engine)
    assert manifest["onnx_sha256"] == _sha256(tiny.path("export/onnx"))
    info = BACKENDS[manifest["backend"]]
    assert manifest["backend_version"] == machine.version(info.distribution) != machine.ABSENT
    assert manifest["precision"] == info.precisions[0]


def test_the_figures_of_the_stage_are_those_of_the_manifest(tiny: Brought) -> None:
    manifest = json.loads(tiny.path("build/manifest").read_bytes())
    metrics = tiny.metrics("build")
    assert {name: metrics[name] for name in ("backend", "device", "precision")} == {
        name: manifest[name] for name in ("backend", "device", "precision")
    }
    assert metrics["bytes"] == tiny.path("build/engine").stat().st_size


def test_a_file_is_built_into_a_folder_of_ones_own(tiny: Brought, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "engine"
    manifest = standalone.build(tiny.path("export/onnx"), folder, Build())
    assert sorted(each.name for each in folder.iterdir()) == sorted(
        ["manifest.json", manifest.engine]
    )
    assert json.loads((folder / "manifest.json").read_bytes())["sha256"] == manifest.sha256


LACKING = [
    ({"backend": "tensorrt"}, "build.backend", "tensorrt"),
    ({"backend": "tensorrt-rtx"}, "build.backend", "tensorrt-rtx"),
    ({"backend": "openvino"}, "build.backend", "openvino"),
    ({"precision": "int8"}, "build.precision", "int8"),
]


@pytest.mark.parametrize(("options", "place", "seen"), LACKING, ids=str)
def test_what_this_version_does_not_build_is_refused_before_any_file_is_touched(
    tmp_path: Path, options: dict[str, str], place: str, seen: str
) -> None:
    with pytest.raises(UnavailableError, match=rf"^{place}: .*{seen}.*; (use|run) ") as caught:
        standalone.build(tmp_path / "none.onnx", tmp_path / "engine", Build(**options))  # type: ignore[arg-type]
    assert caught.value.exit_code == 5
    assert not (tmp_path / "engine").exists()


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
def test_a_gpu_asked_for_by_name_and_absent_is_refused_with_both_remedies(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r'build\.device: .*use device "cpu", or install'):
        standalone.build(tmp_path / "none.onnx", tmp_path / "engine", Build(device="cuda"))


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
def test_without_a_gpu_auto_builds_for_the_cpu_and_says_nothing(tiny: Brought) -> None:
    assert tiny.metrics("build")["device"] == "cpu"
    assert [note for note in tiny.notes() if not note.startswith("latencies were noisy")] == []


def test_an_engine_of_the_same_onnx_file_has_the_same_bytes(tiny: Brought, tmp_path: Path) -> None:
    manifest = standalone.build(tiny.path("export/onnx"), tmp_path / "again", Build())
    built = (tmp_path / "again" / manifest.engine).read_bytes()
    assert built == tiny.path("build/engine").read_bytes()


def test_a_truncated_onnx_file_is_refused(tiny: Brought, tmp_path: Path) -> None:
    content = tiny.path("export/onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(StageError, match=r"^the ONNX file: is no ONNX file"):
        standalone.build(tmp_path / "m.onnx", tmp_path / "engine", Build())


def test_an_operator_that_the_backend_does_not_know_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Nonsense", ["x"], ["y"], domain="nowhere")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("nowhere", 1)]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=10), str(tmp_path / "m.onnx")
    )
    with pytest.raises(StageError, match=r"ONNX Runtime cannot load it|no sound ONNX file"):
        standalone.build(tmp_path / "m.onnx", tmp_path / "engine", Build())

"""The build stage: an engine and the manifest that describes it."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pipeline import machine
from pipeline.errors import StageError, UnavailableError, UsageError
from pipeline.gates.build_records import EngineManifest
from pipeline.settings import Build
from stages import standalone
from stages.build import stage as build_stage
from stages.catalog import declare
from stages.engines import ort
from stages.engines.base import BACKENDS
from stages.engines.open_engine import read_folder
from tests.stages.tiny import TinyRun, context, settings


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_manifest_describes_the_engine_and_the_onnx_file(tiny: TinyRun) -> None:
    manifest = json.loads(tiny.path("build/manifest").read_bytes())
    engine = tiny.path("build/engine")
    assert manifest["engine"] == engine.name
    assert manifest["sha256"] == _sha256(engine)
    assert manifest["onnx_sha256"] == _sha256(tiny.path("export/onnx"))
    info = BACKENDS[manifest["backend"]]
    assert manifest["backend_version"] == machine.version(info.distribution) != machine.ABSENT
    assert manifest["precision"] in info.precisions


def test_the_figures_of_the_stage_are_those_of_the_manifest(tiny: TinyRun) -> None:
    manifest = json.loads(tiny.path("build/manifest").read_bytes())
    metrics = tiny.metrics("build")
    assert {name: metrics[name] for name in ("backend", "device", "precision")} == {
        name: manifest[name] for name in ("backend", "device", "precision")
    }
    assert metrics["bytes"] == tiny.path("build/engine").stat().st_size


def test_a_file_is_built_into_a_folder_of_ones_own(tiny: TinyRun, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "engine"
    manifest = standalone.build(tiny.path("export/onnx"), folder, Build())
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["manifest.json", manifest.engine]
    )
    assert json.loads((folder / "manifest.json").read_bytes())["sha256"] == manifest.sha256


LACKING = [
    ({"precision": "fp8"}, "build.precision", "fp8"),
    ({"backend": "onnxruntime", "precision": "bf16"}, "build.precision", "bf16"),
    ({"backend": "openvino", "precision": "fp16"}, "build.precision", "fp16"),
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
def test_without_a_gpu_auto_builds_for_the_cpu_without_a_note(tiny: TinyRun) -> None:
    assert tiny.metrics("build")["device"] == "cpu"
    usual = ("latencies were noisy", "auto took ")
    assert [note for note in tiny.notes() if not note.startswith(usual)] == []


def test_an_engine_of_the_same_onnx_file_has_the_same_bytes(tiny: TinyRun, tmp_path: Path) -> None:
    options = Build(backend="onnxruntime", device="cpu", precision="int8")
    built = [
        (
            tmp_path
            / name
            / standalone.build(
                tiny.path("export/onnx"), tmp_path / name, options, tiny.path("distill/bank")
            ).engine
        ).read_bytes()
        for name in ("one", "other")
    ]
    assert built[0] == built[1]


def test_a_truncated_onnx_file_is_refused(tiny: TinyRun, tmp_path: Path) -> None:
    content = tiny.path("export/onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(StageError, match=r"^the ONNX file: is no ONNX file"):
        standalone.build(tmp_path / "m.onnx", tmp_path / "engine", Build())


def test_an_operator_that_the_backend_does_not_know_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Nonsense", ["x"], ["y"], domain="nowhere")
    shape: list[str | int] = ["batch", 1, 8, 8]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("nowhere", 1)]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=10), str(tmp_path / "m.onnx")
    )
    with pytest.raises(
        StageError, match=r"does not run .*Nonsense.*; replace the layer|no sound ONNX file"
    ):
        standalone.build(tmp_path / "m.onnx", tmp_path / "engine", Build())


def _identity(path: Path, shape: list[str | int], kind: int = TensorProto.FLOAT) -> Path:
    """Write a sound graph that gives its input back."""
    node = helper.make_node("Identity", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(name, kind, shape) for name in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
    return path


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        (["n", 1, "h", "w"], TensorProto.FLOAT, r"images of any size \(any x 1 x any x any\)"),
        (["n", 4], TensorProto.FLOAT, r"no batches of images of one size \(any x 4\)"),
        (
            ["n", 1, 8, 8],
            TensorProto.INT32,
            r"another type \(INT32\); export with FLOAT",
        ),
    ],
)
def test_a_graph_that_takes_no_batches_of_images_is_refused(
    tmp_path: Path, shape: list[str | int], kind: int, message: str
) -> None:
    path = _identity(tmp_path / "m.onnx", shape, kind)
    with pytest.raises(StageError, match=f"^the ONNX file: .*{message}"):
        standalone.build(path, tmp_path / "engine", Build())
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize("target", ["sm90", "sm8", "89"])
def test_a_target_that_the_edition_does_not_know_is_a_mistake_of_the_command(
    tmp_path: Path, target: str
) -> None:
    options = Build(backend="tensorrt-rtx", targets=("sm89", target))
    with pytest.raises(UsageError, match=rf"^--target: .*\({target}\); name some of sm75, sm80"):
        standalone.build(tmp_path / "none.onnx", tmp_path / "engine", options)


def test_a_target_for_a_backend_that_builds_only_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"onnxruntime builds only for .*; use tensorrt-rtx"):
        standalone.build(tmp_path / "none.onnx", tmp_path / "engine", Build(targets=("sm89",)))


def test_a_graph_of_two_inputs_is_refused(tmp_path: Path) -> None:
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, 8, 8])
        for name in ("x", "z", "y")
    ]
    node = helper.make_node("Add", ["x", "z"], ["y"])
    graph = helper.make_graph([node], "g", ends[:2], ends[2:])
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(
        StageError, match=r"needs one input, of images .* has 2: x any x 1 x 8 x 8, z"
    ):
        standalone.build(tmp_path / "m.onnx", tmp_path / "engine", Build())


def test_weights_outside_the_file_are_not_followed(tiny: TinyRun, tmp_path: Path) -> None:
    model = onnx.load(str(tiny.path("export/onnx")))
    onnx.save(model, str(tmp_path / "m.onnx"), save_as_external_data=True, size_threshold=0)
    torn = onnx.load(str(tmp_path / "m.onnx"), load_external_data=False)
    for tensor in torn.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../../etc/passwd"
    onnx.save(torn, str(tmp_path / "m.onnx"))
    with pytest.raises(StageError, match="keeps weights outside its folder"):
        standalone.build(tmp_path / "m.onnx", tmp_path / "engine", Build())


def test_int8_of_a_file_without_images_is_refused_with_the_fix(
    tiny: TinyRun, tmp_path: Path
) -> None:
    with pytest.raises(
        StageError, match=r"^build.precision: int8 .*need images .*give --calibration"
    ):
        standalone.build(tiny.path("export/onnx"), tmp_path / "engine", Build(precision="int8"))
    assert not (tmp_path / "engine").exists()


def test_a_bank_of_no_images_is_refused(tiny: TinyRun, tmp_path: Path) -> None:
    np.savez(tmp_path / "bank.npz", x=np.zeros((0, 8, 8, 1), np.uint8))
    with pytest.raises(StageError, match=r"^--calibration: holds no images"):
        standalone.build(tiny.path("export/onnx"), tmp_path / "e", Build(), tmp_path / "bank.npz")


def test_layers_that_stay_in_float_are_in_the_manifest(tiny: TinyRun, tmp_path: Path) -> None:
    options = Build(
        backend="onnxruntime", device="cpu", precision="int8", float_layers=("first", "last")
    )
    manifest = standalone.build(
        tiny.path("export/onnx"), tmp_path, options, tiny.path("distill/bank")
    )
    assert len(manifest.float_layers) == 2


@pytest.mark.parametrize("is_measured", [False, True])
def test_an_engine_has_its_manifest_beside_it_when_it_is_first_opened(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_measured: bool
) -> None:
    opened: list[EngineManifest] = []
    real = ort.open

    def open_with_manifest(engine: Path, *, device: str, threads: int) -> ort.OrtSession:
        manifest, path = read_folder(engine.parent, "here")
        assert path == engine
        opened.append(manifest)
        return real(engine, device=device, threads=threads)

    monkeypatch.setattr(ort, "open", open_with_manifest)
    manifest, candidates = build_stage.build(
        tiny.path("export/onnx"),
        tmp_path / "engine.onnx",
        tmp_path / "manifest.json",
        Build(backend="onnxruntime", device="cpu"),
        calibration_path=tiny.path("distill/bank") if is_measured else None,
    )
    assert len(opened) == len(candidates.candidates)
    assert manifest.sha256 in {entry.sha256 for entry in opened}


def test_an_engine_without_weights_is_built_and_not_opened(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"weights": "stripped"}
    monkeypatch.setattr(
        ort, "build", lambda request: request.engine.write_bytes(b"e") and {"settings": settings}
    )
    options = Build(backend="onnxruntime", device="cpu")
    manifest = standalone.build(tiny.path("export/onnx"), tmp_path / "engine", options)
    assert manifest.settings == settings


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
@pytest.mark.parametrize(
    ("backend", "note"),
    [
        ("onnxruntime", "the engine is for the CPU.*CUDAExecutionProvider does not load here"),
        ("openvino", None),  # which is for the CPU alone
    ],
)
def test_a_gpu_that_the_backend_cannot_use_is_noted_with_the_reason(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, note: str | None
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: (machine.Gpu("NVIDIA T4", "7.5", "580.1"),))
    chosen = settings({"build": {"backend": backend, "precision": "fp32"}})
    stage = next(stage for stage in declare(chosen, tmp_path) if stage.name == "build")
    inputs = {name: tiny.path(name) for name in stage.inputs}
    ctx, emitted = context(stage, chosen, inputs, tmp_path)
    build_stage.run(ctx)
    assert ctx.metrics["device"] == "cpu"
    notes = [fields["text"] for kind, fields in emitted if kind == "note"]
    assert len(notes) == (note is not None)
    assert note is None or re.search(note, notes[0])

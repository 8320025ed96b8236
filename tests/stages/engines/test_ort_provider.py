"""Execution providers as devices: without their packages, and OpenVINO's, which runs on a CPU.

That one compiles and keeps what it compiled by the calls that TensorRT's take.
"""

from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np
import onnxruntime
import pytest

from pipeline import machine
from pipeline.errors import StageError, UnavailableError
from pipeline.gates.build_records import EngineManifest, EpContext
from pipeline.settings import Build
from stages import standalone
from stages.engines import compatibility, ort, ort_provider, providers, selection
from stages.engines.base import BuildRequest
from stages.engines.open_engine import build_engine, read_manifest
from stages.engines.providers import PROVIDERS, Provider
from tests.stages.tiny import TinyRun

OPENVINO = Provider(
    "OpenVINOExecutionProvider",
    "OpenVINO",
    module="onnxruntime_ep_openvino",
    distribution="onnxruntime-ep-openvino",
    install="pip install onnxruntime-ep-openvino",
    compiles=True,
    is_plugin=True,
)
DEVICE = "cpu-openvino"
ADA = machine.Gpu("NVIDIA L4", "8.9", "580.1")


@pytest.fixture
def openvino_device(monkeypatch: pytest.MonkeyPatch) -> str:
    """A device of ONNX Runtime's that is OpenVINO's execution provider."""
    if not machine.has_module(OPENVINO.module):
        pytest.skip(f"{OPENVINO.module} is not installed")
    table = MappingProxyType(dict(PROVIDERS) | {DEVICE: OPENVINO})
    for module in (providers, ort, ort_provider, compatibility, selection):
        monkeypatch.setattr(module, "PROVIDERS", table)
    return DEVICE


@pytest.mark.parametrize("device", ["cuda-tensorrt", "cuda-tensorrt-rtx"])
def test_a_provider_whose_package_is_absent_is_named_with_what_installs_it(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has_module", lambda name: name == "onnxruntime")
    provider = PROVIDERS[device]
    with pytest.raises(UnavailableError, match=rf"^build.device: .*{provider.module}") as e:
        ort_provider.add(onnxruntime.SessionOptions(), device, {})
    assert provider.install in str(e.value)


@pytest.fixture
def engine(openvino_device: str, tiny: TinyRun, tmp_path: Path) -> Path:
    """A compiled engine of the tiny student, with its manifest."""
    request = BuildRequest(
        onnx=tiny.path("export/onnx"),
        engine=tmp_path / "engine.onnx",
        device=openvino_device,
        precision="fp32",
        options=Build(device="cuda-tensorrt", ep_context=True),
    )
    build_engine("onnxruntime", request)
    return request.engine


def _manifest(engine: Path) -> EngineManifest:
    return read_manifest(engine.with_name("manifest.json"), engine)


def test_what_a_provider_compiled_is_an_engine_that_computes_as_its_graph(
    engine: Path, tiny: TinyRun
) -> None:
    manifest = _manifest(engine)
    assert manifest.ep_context is not None
    assert manifest.ep_context.provider == OPENVINO.name
    assert manifest.ep_context.version == machine.version(OPENVINO.distribution)
    assert b"EPContext" in engine.read_bytes()
    x_BCHW = np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32)
    expected_BK = ort.open(tiny.path("export/onnx"), device="cpu", threads=1).infer(x_BCHW)
    session = ort.open(engine, device=DEVICE, threads=1)
    # Left to itself, OpenVINO computes in bf16 where the processor has it.
    tolerance = 0.05 * np.abs(expected_BK).max()
    np.testing.assert_allclose(session.infer(x_BCHW), expected_BK, rtol=0, atol=tolerance)
    session.prepared(x_BCHW)()


def test_only_its_manifest_allows_a_compiled_engine_to_be_loaded(engine: Path) -> None:
    path = engine.with_name("manifest.json")
    changed = msgspec.structs.replace(_manifest(engine), ep_context=None)
    path.write_bytes(msgspec.json.encode(changed))
    with pytest.raises(StageError, match="its manifest does not say so"):
        ort.open(engine, device=DEVICE, threads=1)
    path.unlink()
    with pytest.raises(StageError, match="no sound manifest beside it"):
        ort.open(engine, device=DEVICE, threads=1)


def test_a_graph_for_a_provider_that_compiles_is_a_plain_file_too(
    openvino_device: str, tiny: TinyRun, tmp_path: Path
) -> None:
    request = BuildRequest(
        onnx=tiny.path("export/onnx"),
        engine=tmp_path / "engine.onnx",
        device=openvino_device,
        precision="fp32",
    )
    manifest = build_engine("onnxruntime", request)
    assert manifest.ep_context is None
    assert manifest.settings["max_batch"] == 256
    assert request.engine.read_bytes() == request.onnx.read_bytes()
    session = ort.open(request.engine, device=openvino_device, threads=1)
    assert session.session.get_providers()[0] == OPENVINO.name


def test_layers_that_another_provider_would_run_are_refused(
    openvino_device: str, tiny: TinyRun
) -> None:
    session = onnxruntime.InferenceSession(
        str(tiny.path("export/onnx")), _recording(), providers=["CPUExecutionProvider"]
    )
    with pytest.raises(UnavailableError, match=r"for some layers \(.*Conv.*; OpenVINO\)"):
        ort_provider.check_placement(session, openvino_device)


def _recording() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def test_a_graph_that_no_provider_compiles_is_refused_by_the_setting(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(StageError, match=r"^build.ep_context: the execution provider does not"):
        ort_provider.compiled(tmp_path / "m.onnx", onnxruntime.SessionOptions())


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
@pytest.mark.parametrize("device", ["cuda-tensorrt", "cuda-tensorrt-rtx"])
def test_a_provider_that_does_not_load_says_so_and_the_cpu_takes_no_place_of_it(
    device: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    present = Provider(PROVIDERS[device].name, "one", compiles=True)  # its package is onnxruntime
    table = MappingProxyType(dict(PROVIDERS) | {device: present})
    monkeypatch.setattr(ort_provider, "PROVIDERS", table)
    monkeypatch.setattr(providers, "PROVIDERS", table)
    with pytest.raises(UnavailableError, match=rf"^build.device: {present.name} does not load"):
        ort_provider.add(onnxruntime.SessionOptions(), device, {})
    assert capfd.readouterr().out == ""


def test_a_provider_is_told_for_which_batches_to_compile(tmp_path: Path) -> None:
    settings = ort_provider.settings_of(
        "cuda-tensorrt-rtx", "images:{}x3x8x8", (1, 8, 64), tmp_path / "kernels"
    )
    assert settings == {
        "nv_profile_min_shapes": "images:1x3x8x8",
        "nv_profile_opt_shapes": "images:8x3x8x8",
        "nv_profile_max_shapes": "images:64x3x8x8",
        "nv_runtime_cache_path": str(tmp_path / "kernels"),
    }
    assert (tmp_path / "kernels").is_dir()
    only = ort_provider.settings_of("cuda-tensorrt", "images:{}x3x8x8", (1, 2, 3), tmp_path)
    assert set(only) == {f"trt_profile_{name}_shapes" for name in ("min", "opt", "max")}


def test_the_images_of_a_file_are_those_that_are_compiled_for(tiny: TinyRun) -> None:
    batches = {"min_batch": 1, "opt_batch": 2, "max_batch": 4}
    settings = ort._provider_settings(tiny.path("export/onnx"), "cuda-tensorrt", batches, None)
    assert settings["trt_profile_max_shapes"] == "images:4x1x8x8"


def _compiled_manifest(**changes: object) -> EngineManifest:
    version = machine.version(PROVIDERS["cuda-tensorrt"].distribution)
    values: dict[str, object] = {
        "backend": "onnxruntime",
        "backend_version": machine.version("onnxruntime-gpu|onnxruntime"),
        "device": "cuda-tensorrt",
        "precision": "fp16",
        "engine": "engine.onnx",
        "sha256": "0",
        "onnx_sha256": "1",
        "gpu": ADA.name,
        "compute_capability": ADA.compute_capability,
        "ep_context": EpContext(provider="TensorrtExecutionProvider", version=version),
    }
    return EngineManifest(**values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"backend_version": "1.2"}, "another version of onnxruntime"),
        ({"device": "cuda"}, "for another execution provider than its device"),
        (
            {"ep_context": EpContext(provider="TensorrtExecutionProvider", version="1")},
            r"another version of TensorRT \(1, installed",
        ),
        ({"gpu": "NVIDIA T4"}, "for another GPU"),
    ],
)
def test_a_compiled_engine_of_another_place_is_refused_with_what_rebuilds_it(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], wrong: str
) -> None:
    monkeypatch.setattr(machine, "has_module", lambda _: True)
    monkeypatch.setattr(machine, "gpus", lambda: (ADA,))
    compatibility.check(_compiled_manifest())
    with pytest.raises(StageError, match=wrong) as e:
        compatibility.check(_compiled_manifest(**changes))
    assert "--set build.ep_context=true" in str(e.value)


def test_a_device_needs_the_package_of_its_provider_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: (ADA,))
    monkeypatch.setattr(machine, "has_module", lambda name: name == "onnxruntime")
    options = Build(device="cuda-tensorrt-rtx", precision="fp16")
    assert selection.backend_name(options) == "onnxruntime"
    (requirement,) = (
        need
        for need in selection.requirements(options)
        if getattr(need, "install", "").endswith("rtx")
    )
    with pytest.raises(UnavailableError, match="onnxruntime_ep_nv_tensorrt_rtx"):
        requirement.check()
    int8 = selection.unsupported("onnxruntime", "int8", options)
    assert int8 is not None
    names = {entry.precision for entry in selection.candidates(options, "cuda-tensorrt-rtx")}
    assert names == {"fp32", "fp16"}


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
@pytest.mark.parametrize("device", ["cuda-tensorrt", "cuda-tensorrt-rtx"])
def test_a_build_for_such_a_device_ends_before_it_begins_without_a_gpu(
    device: str, tiny: TinyRun, tmp_path: Path
) -> None:
    options = Build(device=device)  # type: ignore[arg-type]
    with pytest.raises(UnavailableError, match=r"^build.device: "):
        standalone.build(tiny.path("export/onnx"), tmp_path, options)

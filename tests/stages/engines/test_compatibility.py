"""Whether an engine may be loaded here, by its manifest alone."""

import pytest

from pipeline import machine
from pipeline.errors import StageError, UnavailableError
from pipeline.gates.build_records import EngineManifest
from stages.engines import compatibility
from stages.engines.base import BACKENDS

ADA = machine.Gpu("NVIDIA L4", "8.9", "580.1")
HOPPER = machine.Gpu("NVIDIA H100", "9.0", "580.1")


def _manifest(**changes: object) -> EngineManifest:
    values: dict[str, object] = {
        "backend": "tensorrt",
        "backend_version": "11.4.0",
        "device": "cuda",
        "precision": "fp16",
        "engine": "engine.plan",
        "sha256": "0",
        "onnx_sha256": "1",
        "gpu": ADA.name,
        "compute_capability": ADA.compute_capability,
    }
    return EngineManifest(**values | changes)  # type: ignore[arg-type]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an L4 and TensorRT 11.4.0."""
    monkeypatch.setattr(machine, "gpus", lambda: (ADA,))
    monkeypatch.setattr(machine, "has_module", lambda name: name == "tensorrt")
    monkeypatch.setattr(machine, "version", lambda _: "11.4.0")


@pytest.mark.usefixtures("here")
def test_an_engine_of_this_machine_fits() -> None:
    compatibility.check(_manifest())


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("built", ["10.13.0", "11.3.9", "11.4.0.1"])
def test_another_version_does_not_fit_unless_it_was_built_to(built: str) -> None:
    with pytest.raises(StageError, match=rf"another version .*{built}, installed is 11\.4\.0"):
        compatibility.check(_manifest(backend_version=built))
    forward = {"version_compatible": True}
    if built < "11.4.0":
        compatibility.check(_manifest(backend_version=built, settings=forward))
    else:
        with pytest.raises(StageError, match="another version"):
            compatibility.check(_manifest(backend_version=built, settings=forward))


@pytest.mark.usefixtures("here")
def test_another_gpu_does_not_fit_unless_it_was_built_to() -> None:
    other = {"gpu": "NVIDIA RTX 4090", "compute_capability": "8.9"}
    with pytest.raises(StageError, match=r"another GPU \(NVIDIA RTX 4090, 8\.9; here is NVIDIA L4"):
        compatibility.check(_manifest(**other))
    same = {"hardware_compatibility": "same-compute-capability"}
    compatibility.check(_manifest(**other, settings=same))
    older = {"gpu": "NVIDIA A100", "compute_capability": "8.0"}
    with pytest.raises(StageError, match="madpipe build --onnx FILE --backend tensorrt"):
        compatibility.check(_manifest(**older, settings=same))
    compatibility.check(_manifest(**older, settings={"hardware_compatibility": "ampere-plus"}))


@pytest.mark.usefixtures("here")
def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"not installed \(tensorrt_rtx\); pip install"):
        compatibility.check(_manifest(backend="tensorrt-rtx"))


def test_targets_are_met_by_their_architecture_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = _manifest(backend="tensorrt-rtx", targets=("sm89", "sm120"), gpu="")
    monkeypatch.setattr(machine, "gpus", lambda: (ADA,))
    assert compatibility.why_not_run(manifest) is None
    monkeypatch.setattr(machine, "gpus", lambda: (HOPPER,))
    assert compatibility.why_not_run(manifest) is not None
    assert "this machine has sm90" in str(compatibility.why_not_run(manifest))
    monkeypatch.setattr(machine, "gpus", tuple)
    assert "has no NVIDIA GPU" in str(compatibility.why_not_run(manifest))


def test_without_a_gpu_an_engine_of_one_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", tuple)
    monkeypatch.setattr(machine, "has_module", bool)
    monkeypatch.setattr(machine, "version", lambda _: "11.4.0")
    with pytest.raises(UnavailableError, match=r"needs an NVIDIA GPU .*built on NVIDIA L4"):
        compatibility.check(_manifest())


def test_a_portable_engine_fits_whatever_it_was_built_with() -> None:
    assert BACKENDS["onnxruntime"].is_portable
    compatibility.check(_manifest(backend="onnxruntime", backend_version="0.1"))

"""What TensorRT-RTX itself says of engines, on a machine without a GPU, and what we make of it."""

from pathlib import Path

import msgspec
import pytest
import torch

from pipeline import machine
from pipeline.cache.keys import file_sha256
from pipeline.errors import StageError, UnavailableError
from pipeline.gates.build_records import EngineManifest
from stages.engines.open_engine import write_manifest
from stages.engines.tensorrt import rtx, validity
from tests.stages.engines.tensorrt.conftest import NewRequest

ADA = machine.Gpu("NVIDIA L4", "8.9", "580.1")


def _manifest(**changes: object) -> EngineManifest:
    values: dict[str, object] = {
        "backend": "tensorrt-rtx",
        "backend_version": machine.version("tensorrt-rtx"),
        "device": "cuda",
        "precision": "fp32",
        "engine": "engine.plan",
        "sha256": "0",
        "onnx_sha256": "1",
        "targets": ("sm89",),
    }
    return EngineManifest(**values | changes)  # type: ignore[arg-type]


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that says it has an L4, up to where CUDA itself is asked."""
    if machine.gpus() or not machine.has_module("tensorrt_rtx"):
        pytest.skip("a GPU is here, or no TensorRT-RTX")
    monkeypatch.setattr(machine, "gpus", lambda: (ADA,))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("content", [b"", b"no engine at all", b"ftrt" + bytes(4000)])
def test_a_malformed_engine_is_refused_by_the_runtime_itself(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "engine.plan"
    path.write_bytes(content)
    write_manifest(_manifest(sha256=file_sha256(path)), tmp_path / "manifest.json")
    with pytest.raises(StageError, match=r"^the engine: is damaged, or no engine .*MALFORMED") as e:
        rtx.open(path, device="cuda", threads=1)
    assert "madpipe build --onnx FILE --backend tensorrt-rtx" in str(e.value)


@pytest.mark.usefixtures("_here")
def test_without_a_driver_the_runtime_says_so_of_a_sound_engine(
    new_request: NewRequest, tmp_path: Path
) -> None:
    request = new_request()
    rtx.build(request)
    manifest = _manifest(sha256=file_sha256(request.engine))
    write_manifest(manifest, request.engine.with_name("manifest.json"))
    with pytest.raises(UnavailableError, match=r"^the engine: cannot .*CUDA") as e:
        rtx.open(request.engine, device="cuda", threads=1, cache=tmp_path)
    assert "see madpipe doctor" in str(e.value)


@pytest.mark.parametrize(
    ("names", "kind", "text"),
    [
        (["VERSION_MISMATCH"], StageError, "was built by another version"),
        (["UNSUPPORTED_CC", "OLD_CUDA_DRIVER"], StageError, "was not built for this GPU"),
        (["OLD_CUDA_DRIVER"], UnavailableError, "install a newer NVIDIA driver"),
        (["OLD_CUDA_RUNTIME"], UnavailableError, "needs a newer CUDA"),
        (["INSUFFICIENT_GPU_MEMORY"], UnavailableError, "more memory than the GPU has"),
        (["CUDA_ERROR"], UnavailableError, "CUDA fails"),
        ([], UnavailableError, "no diagnosis"),
        (["SOMETHING_NEW"], UnavailableError, "SOMETHING_NEW"),
    ],
)
def test_each_diagnosis_is_an_error_with_what_to_do(
    names: list[str], kind: type[Exception], text: str
) -> None:
    error = validity.fault(names, _manifest(), "")
    assert type(error) is kind
    assert text in str(error)
    assert error.place == "the engine"


def test_the_table_has_the_diagnoses_that_the_bindings_have() -> None:
    if not machine.has_module("tensorrt_rtx"):
        pytest.skip("tensorrt_rtx is not installed")
    import tensorrt_rtx

    assert set(tensorrt_rtx.EngineInvalidityDiagnostics.__members__) == set(validity._DIAGNOSES)
    bit = int(tensorrt_rtx.EngineInvalidityDiagnostics.UNSUPPORTED_CC)
    assert validity._names(bit) == ["UNSUPPORTED_CC"]


@pytest.mark.parametrize("state", ["VALID", "SUBOPTIMAL"])
def test_an_engine_that_could_run_better_is_a_note(state: str) -> None:
    if not machine.has_module("tensorrt_rtx"):
        pytest.skip("tensorrt_rtx is not installed")
    import tensorrt_rtx

    class Runtime:
        def get_engine_validity(self, plan: bytes) -> tuple[object, int]:
            del plan
            return getattr(tensorrt_rtx.EngineValidity, state), 0

    note = validity.check(Runtime(), b"", msgspec.structs.replace(_manifest()), [])
    assert bool(note) == (state == "SUBOPTIMAL")

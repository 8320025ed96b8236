"""Engines are refused by their manifest before native code sees them; running needs a GPU."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from pipeline import machine
from pipeline.errors import StageError, UnavailableError
from pipeline.gates.build_records import EngineManifest
from pipeline.settings import Build
from stages import standalone
from stages.engines.open_engine import open_engine, read_manifest
from stages.engines.tensorrt import rtx, standard

pytestmark = pytest.mark.skipif(
    not machine.has_module("tensorrt_rtx") or bool(machine.gpus()),
    reason="TensorRT-RTX is not installed, or a GPU is here",
)


@pytest.fixture(scope="module")
def built(onnx_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an engine for two GPUs that are not here."""
    folder = tmp_path_factory.mktemp("built")
    options = Build(backend="tensorrt-rtx", precision="fp32", targets=("sm89", "sm120"))
    standalone.build(onnx_files["fp32"], folder, options)
    return folder


@pytest.fixture
def changed(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that may be changed, while touching the native library fails the test."""
    for path in built.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    hollow = ModuleType("tensorrt_rtx")
    hollow.__spec__ = ModuleSpec("tensorrt_rtx", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", hollow)
    return tmp_path


def _manifest(folder: Path, **changes: object) -> EngineManifest:
    path = folder / "manifest.json"
    manifest = msgspec.json.decode(path.read_bytes(), type=EngineManifest)
    manifest = msgspec.structs.replace(manifest, **changes)
    path.write_bytes(msgspec.json.encode(manifest))
    return manifest


def _open(folder: Path) -> None:
    engine = folder / "engine.plan"
    open_engine(read_manifest(folder / "manifest.json", engine), engine, threads=1)


@pytest.mark.parametrize("where", [0, 0.5, 0.99999])
def test_a_flipped_byte_is_refused(changed: Path, where: float) -> None:
    content = bytearray((changed / "engine.plan").read_bytes())
    content[int(where * len(content))] ^= 1
    (changed / "engine.plan").write_bytes(content)
    with pytest.raises(StageError, match="is not the one that its manifest describes"):
        _open(changed)


def test_a_truncated_engine_is_refused(changed: Path) -> None:
    content = (changed / "engine.plan").read_bytes()
    (changed / "engine.plan").write_bytes(content[: len(content) // 2])
    with pytest.raises(StageError, match="is not the one that its manifest describes"):
        _open(changed)


def test_an_engine_for_other_gpus_is_refused_with_names_and_where_to_go(
    changed: Path,
) -> None:
    with pytest.raises(UnavailableError, match=r"built for sm89, sm120 and not run") as caught:
        _open(changed)
    assert "has no NVIDIA GPU" in str(caught.value)
    assert "madpipe validate --engine DIR --teacher FILE" in str(caught.value)


def test_another_editions_manifest_is_refused(changed: Path) -> None:
    _manifest(changed, backend="tensorrt")
    with pytest.raises((StageError, UnavailableError), match=r"tensorrt"):
        _open(changed)
    with pytest.raises(StageError, match=r"another edition .*\(tensorrt, not tensorrt-rtx\)"):
        rtx.open(changed / "engine.plan", device="cuda", threads=1)


def test_an_engine_of_the_other_edition_is_refused(changed: Path) -> None:
    with pytest.raises(StageError, match=r"another edition .*\(tensorrt-rtx, not tensorrt\)"):
        standard.open(changed / "engine.plan", device="cuda", threads=1)


def test_another_version_is_refused_with_the_command_that_rebuilds(changed: Path) -> None:
    _manifest(changed, backend_version="1.6.0.9")
    with pytest.raises(StageError, match=r"another version .*1\.6\.0\.9, installed is 1\.") as e:
        _open(changed)
    assert "--backend tensorrt-rtx --precision fp32 --target sm89 --target sm120" in str(e.value)


def test_without_a_manifest_beside_it_an_engine_is_refused(changed: Path) -> None:
    (changed / "manifest.json").unlink()
    with pytest.raises(StageError, match="no sound manifest beside it"):
        rtx.open(changed / "engine.plan", device="cuda", threads=1)


def test_a_stripped_engine_is_refused_as_one_without_weights(
    changed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = machine.Gpu("Some GPU", "8.9", "580.1")
    monkeypatch.setattr(machine, "gpus", lambda: (gpu,))
    _manifest(changed, settings={"weights": "stripped"})
    with pytest.raises(StageError, match="holds no weights"):
        rtx.open(changed / "engine.plan", device="cuda", threads=1)


def test_where_torch_sees_no_gpu_it_is_refused_before_native_code(
    changed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = machine.Gpu("Some GPU", "8.9", "580.1")
    monkeypatch.setattr(machine, "gpus", lambda: (gpu,))
    with pytest.raises(UnavailableError, match="torch sees no NVIDIA GPU"):
        _open(changed)

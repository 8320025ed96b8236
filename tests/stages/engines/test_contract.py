"""The contract of a backend: every one that runs here, at every precision that it has here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from pipeline import machine
from pipeline.errors import StageError, UnavailableError
from pipeline.gates.build_records import EngineManifest
from pipeline.settings import Build, Export
from stages import standalone
from stages.data import images
from stages.engines import selection
from stages.engines.base import BACKENDS, Session
from stages.engines.open_engine import open_engine, read_manifest
from stages.engines.ort import OrtSession
from stages.networks import factory
from stages.onnxgraph.convert import PrecisionConverter
from tests.stages.tiny import TinyRun

HERE = [name for name, info in BACKENDS.items() if machine.has_module(info.needs)]
ENGINES = [
    (name, precision)
    for name in HERE
    if "cpu" in BACKENDS[name].devices
    for precision in BACKENDS[name].precisions
    if selection.unsupported(name, precision, Build(device="cpu")) is None
]
TOLERANCE = {"fp32": 1e-3, "bf16": 0.05, "int8": 0.2, "int4": 1e-3}
"""Largest difference to what is expected, as a share of the largest logit."""


@pytest.fixture(scope="module", params=ENGINES, ids="-".join)
def built(request: pytest.FixtureRequest, tiny: TinyRun, tmp_path_factory: Any) -> Path:
    """A folder with an engine of the tiny student and its manifest."""
    folder: Path = tmp_path_factory.mktemp("engine")
    name, precision = request.param
    options = Build(backend=name, device="cpu", precision=precision)
    images_path = tiny.path("distill/bank") if precision == "int8" else None
    standalone.build(tiny.path("export/onnx"), folder, options, images_path)
    return folder


def _opened(folder: Path) -> tuple[EngineManifest, Session]:
    manifest_path = folder / "manifest.json"
    name = json.loads(manifest_path.read_bytes())["engine"]
    manifest = read_manifest(manifest_path, folder / name)
    return manifest, open_engine(manifest, folder / name, threads=1)


def _held_out(tiny: TinyRun, count: int) -> torch.Tensor:
    held_out = images.load(tiny.settings.data, None).held_out
    return held_out.batch(torch.arange(count), torch.device("cpu")).contiguous()


def test_there_is_a_backend_to_test() -> None:
    assert "onnxruntime" in HERE


def _expected(tiny: TinyRun, precision: str, x_BCHW: torch.Tensor) -> Any:
    """Return torch's logits, or those of the graph of 4 bits in float: rounding alone moves them.

    How far 4 bits move the logits of a network that learned for seconds differs by machine.
    """
    if precision == "int4":
        model = onnx.load(tiny.path("export/onnx"))
        rounded = PrecisionConverter(model, None, Build()).convert("int4", BACKENDS["openvino"])
        session = OrtSession(rounded.model.SerializeToString(), is_optimised=False)
        return session.infer(x_BCHW.numpy())
    student, _ = factory.load(tiny.path("distill/student"), code=None, place="student")
    with torch.no_grad():
        return student(x_BCHW).numpy()


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_an_engine_computes_what_its_network_does(built: Path, tiny: TinyRun, batch: int) -> None:
    manifest, session = _opened(built)
    x_BCHW = _held_out(tiny, batch)
    expected_BK = _expected(tiny, manifest.precision, x_BCHW)
    engine_BK = session.infer(x_BCHW.numpy())
    assert engine_BK.dtype == np.float32
    assert engine_BK.shape == expected_BK.shape
    largest = np.abs(expected_BK).max()
    assert np.abs(engine_BK - expected_BK).max() <= TOLERANCE[manifest.precision] * largest


def test_a_prepared_call_runs_as_often_as_one_likes(built: Path, tiny: TinyRun) -> None:
    _, session = _opened(built)
    x_BCHW = _held_out(tiny, 3).numpy()
    before_BK = session.infer(x_BCHW)
    call = session.prepared(x_BCHW)
    for _ in range(5):
        call()
    np.testing.assert_array_equal(session.infer(x_BCHW), before_BK)


def test_two_sessions_of_one_engine_agree_to_the_bit(built: Path, tiny: TinyRun) -> None:
    x_BCHW = _held_out(tiny, 9).numpy()
    one, other = (_opened(built)[1].infer(x_BCHW) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_the_manifest_describes_what_was_built(built: Path) -> None:
    manifest, _ = _opened(built)
    info = BACKENDS[manifest.backend]
    assert manifest.device == "cpu"
    assert (manifest.backend, manifest.precision) in ENGINES
    assert manifest.engine == info.engine_file
    assert manifest.backend_version == machine.version(info.distribution)


def test_images_of_another_shape_are_refused_with_both_shapes(built: Path) -> None:
    _, session = _opened(built)
    with pytest.raises(StageError, match=r"^the engine: does not take such images .*1, 9, 9"):
        session.infer(np.zeros((1, 1, 9, 9), np.float32))
    assert session.infer(np.zeros((1, 1, 8, 8), np.float32)).shape == (1, 10)


def test_more_threads_give_the_same_logits(built: Path, tiny: TinyRun) -> None:
    manifest, session = _opened(built)
    x_BCHW = _held_out(tiny, 5).numpy()
    backend = selection.backend(manifest.backend)
    other = backend.open(built / manifest.engine, device="cpu", threads=2)
    np.testing.assert_allclose(other.infer(x_BCHW), session.infer(x_BCHW), rtol=1e-3, atol=1e-3)


def test_a_graph_that_takes_bytes_is_fed_bytes(built: Path, tmp_path: Path, tiny: TinyRun) -> None:
    manifest, session = _opened(built)
    options = Export(input="uint8-nhwc")
    standalone.export(
        tiny.path("distill/student"), tmp_path / "b.onnx",options=options,
    )  # fmt: skip
    named = Build(backend=manifest.backend, device="cpu", precision=manifest.precision)  # type: ignore[arg-type]
    images_path = tiny.path("distill/bank") if manifest.precision == "int8" else None
    standalone.build(tmp_path / "b.onnx", tmp_path / "engine", named, images_path)
    _, other = _opened(tmp_path / "engine")
    x_BCHW = ((_held_out(tiny, 5) * 255).round() / 255).numpy()
    expected_BK = session.infer(x_BCHW)
    engine_BK = other.infer(x_BCHW)
    assert (
        np.abs(engine_BK - expected_BK).max()
        <= TOLERANCE[manifest.precision] * np.abs(expected_BK).max()
    )
    other.prepared(x_BCHW)()


@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
def test_an_engine_with_one_flipped_byte_is_refused(
    built: Path, tmp_path: Path, where: float
) -> None:
    manifest, _ = _opened(built)
    content = bytearray((built / manifest.engine).read_bytes())
    content[int(len(content) * where)] ^= 1
    (tmp_path / manifest.engine).write_bytes(content)
    with pytest.raises(StageError, match="is not the one that its manifest describes"):
        read_manifest(built / "manifest.json", tmp_path / manifest.engine)


def test_a_file_that_is_no_engine_is_refused_by_the_backend(built: Path, tmp_path: Path) -> None:
    manifest, _ = _opened(built)
    (tmp_path / "e").write_bytes(b"no engine")
    with pytest.raises(StageError, match="build it again"):
        selection.backend(manifest.backend).open(tmp_path / "e", device="cpu", threads=1)


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
def test_a_device_that_is_not_here_is_refused_and_never_replaced(
    built: Path, tmp_path: Path
) -> None:
    manifest, _ = _opened(built)
    backend = selection.backend(manifest.backend)
    with pytest.raises(UnavailableError, match="device"):
        backend.open(built / manifest.engine, device="cuda", threads=1)
    del tmp_path


@pytest.mark.gpu
@pytest.mark.skipif(not machine.gpus(), reason="no GPU is here")
def test_an_engine_on_the_gpu_agrees_with_torch(tiny: TinyRun, tmp_path: Path) -> None:
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime is built for the CPU alone")
    manifest = standalone.build(tiny.path("export/onnx"), tmp_path, Build(device="cuda"))
    assert manifest.device == "cuda"
    student, _ = factory.load(tiny.path("distill/student"), code=None, place="student")
    _, session = _opened(tmp_path)
    x_BCHW = _held_out(tiny, 7)
    with torch.no_grad():
        expected_BK = student(x_BCHW).numpy()
    # Whatever was fastest: fp16, or fp32 in TF32.
    tolerance = 3e-2 * np.abs(expected_BK).max()
    np.testing.assert_allclose(session.infer(x_BCHW.numpy()), expected_BK, rtol=0, atol=tolerance)

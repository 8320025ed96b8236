"""Engines of both editions, built for the GPU that is here, loaded and run on it."""

from pathlib import Path

import numpy as np
import pytest

from pipeline import machine
from pipeline.settings import BackendName, Build, PrecisionName, TensorRT
from stages import standalone
from stages.engines.base import BACKENDS
from stages.engines.compatibility import sm
from stages.engines.open_engine import open_engine, read_manifest
from stages.engines.ort import OrtSession

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not machine.gpus(), reason="no GPU is here"),
]
EDITIONS: tuple[BackendName, ...] = ("tensorrt", "tensorrt-rtx")


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_an_engine_agrees_with_its_graph(
    onnx_files: dict[str, Path],
    tmp_path: Path,
    edition: BackendName,
    precision: PrecisionName,
    *,
    cuda_graph: bool,
) -> None:
    info = BACKENDS[edition]
    if not machine.has_module(info.needs):
        pytest.skip(f"{edition} is not installed")
    here = sm(machine.gpus()[0].compute_capability)
    if info.architectures and here not in info.architectures:
        pytest.skip(f"{edition} knows no {here}")
    options = Build(
        backend=edition, precision=precision, tensorrt=TensorRT(tf32=False, cuda_graph=cuda_graph)
    )
    manifest = standalone.build(onnx_files["fp32"], tmp_path, options)
    assert manifest.layer_types
    engine = tmp_path / manifest.engine
    session = open_engine(read_manifest(tmp_path / "manifest.json", engine), engine, threads=1)
    assert manifest.signature is not None
    shape = (7, *manifest.signature.shape)
    x_BCHW = np.random.default_rng(0).random(shape, dtype=np.float32)
    graph_BK = OrtSession(onnx_files["fp32"]).infer(x_BCHW)
    engine_BK = session.infer(x_BCHW)
    tolerance = {"fp32": 1e-3, "fp16": 3e-2}[precision] * np.abs(graph_BK).max()
    assert np.abs(engine_BK - graph_BK).max() <= tolerance
    session.prepared(x_BCHW)()

"""Graphs that are written once for all tests of TensorRT."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import machine
from pipeline.settings import Build, TensorRT
from stages.engines.base import BuildRequest
from tests.stages.engines.tensorrt import graphs

NewRequest = Callable[..., BuildRequest]


@pytest.fixture(scope="session")
def onnx_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """ONNX files by precision; do not change them."""
    return graphs.write(tmp_path_factory.mktemp("graphs"))


@pytest.fixture
def new_request(onnx_files: dict[str, Path], tmp_path: Path) -> NewRequest:
    """Make requests to TensorRT-RTX, for GPUs that need not be here."""
    if not machine.has_module("tensorrt_rtx"):
        pytest.skip("TensorRT-RTX is not installed")

    def make(
        precision: str = "fp32",
        targets: tuple[str, ...] = ("sm89",),
        onnx: Path | None = None,
        cache: Path | None = None,
        **settings: object,
    ) -> BuildRequest:
        tensorrt = TensorRT(**settings)  # type: ignore[arg-type]
        return BuildRequest(
            onnx=onnx or onnx_files[precision],
            engine=tmp_path / "engine.plan",
            device="cuda",
            precision=precision,
            options=Build(backend="tensorrt-rtx", targets=targets, tensorrt=tensorrt),
            cache=cache,
        )

    return make

"""Graphs and engines that are made once for all tests of TensorRT."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import machine
from pipeline.settings import Build, TensorRT
from stages.engines.base import Order
from tests.stages.engines.tensorrt import graphs

MakeOrder = Callable[..., Order]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """ONNX files by precision; do not change them."""
    return graphs.write(tmp_path_factory.mktemp("graphs"))


@pytest.fixture
def order(made: dict[str, Path], tmp_path: Path) -> MakeOrder:
    """Make an order for TensorRT-RTX, for GPUs that need not be here."""
    if not machine.has_module("tensorrt_rtx"):
        pytest.skip("TensorRT-RTX is not installed")

    def make(
        precision: str = "fp32",
        targets: tuple[str, ...] = ("sm89",),
        onnx: Path | None = None,
        cache: Path | None = None,
        **settings: object,
    ) -> Order:
        asked = TensorRT(**settings)  # type: ignore[arg-type]
        return Order(
            onnx=onnx or made[precision],
            engine=tmp_path / "engine.plan",
            device="cuda",
            precision=precision,
            options=Build(backend="tensorrt-rtx", targets=targets, tensorrt=asked),
            cache=cache,
        )

    return make

"""The graph of an engine for other GPUs predicts what the engine would, as far as a CPU can."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import StageError
from pipeline.settings import Build
from stages.data import images
from stages.engines.base import BACKENDS
from stages.onnxgraph import calibration_images
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.convert import PrecisionConverter
from stages.validate.stage import graph_logits
from tests.stages.tiny import TinyRun


@pytest.fixture(scope="module")
def converter(tiny: TinyRun) -> PrecisionConverter:
    """Makes the tiny student at every precision of TensorRT-RTX."""
    model = onnx_io.read(tiny.path("export/onnx"), "here")
    bank_NCHW = calibration_images.load(tiny.path("distill/bank"), model, "the bank")
    return PrecisionConverter(model, bank_NCHW, Build())


def _graph(converter: PrecisionConverter, precision: str, folder: Path) -> Path:
    path = folder / "graph.onnx"
    onnx_io.save(converter.convert(precision, BACKENDS["tensorrt-rtx"]).model, path)
    return path


@pytest.mark.parametrize("precision", ["fp16", "int8", "fp8"])
def test_a_graph_agrees_with_fp32_on_most_images(
    tiny: TinyRun, converter: PrecisionConverter, tmp_path: Path, precision: str
) -> None:
    held_out = images.load(tiny.settings.data, None).held_out
    fp32_NK = graph_logits(tiny.path("export/onnx"), "fp32", held_out, threads=1)
    graph = _graph(converter, precision, tmp_path)
    graph_NK = graph_logits(graph, precision, held_out, threads=1)
    assert graph_NK.shape == fp32_NK.shape
    assert not np.array_equal(graph_NK, fp32_NK)
    # Three bits of mantissa move logits that are as close as those of a student of few rounds.
    least = 0.75 if precision == "fp8" else 0.9
    assert (graph_NK.argmax(1) == fp32_NK.argmax(1)).mean() > least


def test_bf16_is_refused_since_the_cpu_has_no_kernels_for_it(
    tiny: TinyRun, converter: PrecisionConverter, tmp_path: Path
) -> None:
    held_out = images.load(tiny.settings.data, None).held_out
    graph = _graph(converter, "bf16", tmp_path)
    with pytest.raises(StageError, match=r"cannot run the engine's graph .*bf16.*where the GPU is"):
        graph_logits(graph, "bf16", held_out, threads=1)

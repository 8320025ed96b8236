"""What the arithmetic of a graph is."""

from pathlib import Path

import onnx
import pytest

from pipeline.errors import StageError
from stages.engines.tensorrt import graph


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_each_graph_is_what_it_was_made_to_be_and_nothing_else(
    made: dict[str, Path], precision: str
) -> None:
    model = onnx.load(str(made[precision]))
    graph.check_precision(model, precision)
    for other in {"fp32", "fp16", "bf16", "int8", "fp8"} - {precision}:
        with pytest.raises(StageError, match=f"the graph is not {other}"):
            graph.check_precision(model, other)


def test_half_the_weights_are_half_the_bytes(made: dict[str, Path]) -> None:
    found = {name: graph.weights_bytes(onnx.load(str(path))) for name, path in made.items()}
    assert found["fp16"]["FLOAT16"] * 2 == found["fp32"]["FLOAT"]
    assert found["int8"]["INT8"] > 0.9 * found["fp32"]["FLOAT"] / 4


def test_a_graph_without_weights_is_of_no_precision() -> None:
    empty = onnx.ModelProto()
    with pytest.raises(StageError, match="no weights"):
        graph.check_precision(empty, "fp16")

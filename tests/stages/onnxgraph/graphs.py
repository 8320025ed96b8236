"""Small classifiers in ONNX, made by hand as other exporters write them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Shape = Sequence[str | int]
IMAGES: Shape = ("N", 3, 8, 8)
CLASSES = 5


def weights() -> dict[str, NDArray[Any]]:
    """Return a convolution's and a linear layer's weights."""
    rng = np.random.default_rng(0)
    return {
        "w1": rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32),
        "b1": rng.normal(0, 0.1, 4).astype(np.float32),
        "w2": rng.normal(0, 0.5, (CLASSES, 4)).astype(np.float32),
        "b2": rng.normal(0, 0.1, CLASSES).astype(np.float32),
    }


def layers(first: str = "images", last: str = "logits") -> list[NodeProto]:
    """Return the nodes of a small network."""
    return [
        helper.make_node("Conv", [first, "w1", "b1"], ["c"], name="conv", strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat", axis=1),
        helper.make_node("Gemm", ["f", "w2", "b2"], [last], name="fc", transB=1),
    ]


def classifier(
    nodes: Sequence[NodeProto] | None = None,
    *,
    images: Shape = IMAGES,
    outputs: Sequence[tuple[str, int, Shape | None]] = (
        ("logits", TensorProto.FLOAT, ("N", CLASSES)),
    ),
    stored: dict[str, NDArray[Any]] | None = None,
    kind: int = TensorProto.FLOAT,
    opset: int = 17,
    ir_version: int = 8,
    lists_weights: bool = False,
) -> ModelProto:
    """Return a model, by default a sound one with a dynamic batch."""
    tensors = weights() if stored is None else stored
    inputs = [helper.make_tensor_value_info("images", kind, images)]
    if lists_weights:
        inputs += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
            for name, array in tensors.items()
        ]
    graph = helper.make_graph(
        list(nodes or layers()),
        "g",
        inputs,
        [helper.make_tensor_value_info(*output) for output in outputs],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def saved(model: ModelProto, path: Path, **options: Any) -> Path:
    """Write a model and return the path."""
    onnx.save(model, str(path), **options)
    return path


def random_images(count: int = 6, shape: Shape = (3, 8, 8)) -> NDArray[np.float32]:
    """Return images in [0, 1] of shape NCHW."""
    return np.random.default_rng(1).random((count, *shape), dtype=np.float32)  # type: ignore[arg-type]

"""Gathers that return a whole tensor in its own order, taken out of the graph.

torch's exporter writes the global pooling of a network in channels last as a mean, a flat view of
it and a gather by an index that is computed from the batch. ONNX Runtime computes that rightly;
OpenVINO's int8 takes means of other elements.

Shape legend: N images, C channel, H W space.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from pipeline.image_size import ImageSize, sides_px
from stages.onnxgraph import rewrite
from stages.onnxgraph.layers import int_attribute

_BATCHES = (2, 3)
_SIZE_PX = 64
"""Of images whose size is open; an index made of the batch alone does not depend on it."""


class _View(NamedTuple):
    """A gather from a flat view, and the tensor behind the view."""

    gather: NodeProto
    source: str
    shape: tuple[int, ...]
    """Of one image in `source`."""


def remove(model: ModelProto, image_size_px: ImageSize | None = None) -> int:
    """Let what takes such a gather take the tensor itself; return how many were taken out.

    Whether one changes nothing is seen by its index for batches of 2 and 3, or for the one that
    the file fixes. The model is as before where its logits would not be the same bits.
    """
    if not any(node.op_type == "Gather" for node in model.graph.node):
        return 0
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    batches = (batch,) if batch > 0 else _BATCHES
    try:
        views = _views(model)
        for count in batches if views else ():
            x_NCHW = _images(model, count, image_size_px)
            indices = _run(model, [view.gather.input[1] for view in views], x_NCHW)
            views = [v for v, i in zip(views, indices, strict=True) if _keeps_order(v, i, count)]
        if not views:
            return 0
        changed = ModelProto()
        changed.CopyFrom(model)
        sources = {view.gather.output[0]: view.source for view in views}
        for node in changed.graph.node:
            for number, name in enumerate(node.input):
                node.input[number] = sources.get(name, name)
        rewrite.remove_unused(changed.graph)
        changed.graph.ClearField("value_info")
        logits = [value.name for value in model.graph.output]
        x_NCHW = _images(model, batches[0], image_size_px)
        (before_NK,), (after_NK,) = (_run(m, logits, x_NCHW) for m in (model, changed))
    except Exception:  # noqa: BLE001  (what is wrong with a file is named where it is looked for)
        return 0
    if not np.array_equal(before_NK, after_NK):
        return 0
    model.CopyFrom(changed)
    return len(views)


def _views(model: ModelProto) -> list[_View]:
    """Return the gathers from flat views of a tensor that holds as much for each image."""
    graph = model.graph
    values = rewrite.inferred_values(model)
    makers = {node.output[0]: node for node in graph.node if node.op_type == "Reshape"}
    ends = {value.name for value in graph.output}
    views: list[_View] = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in makers or node.output[0] in ends:
            continue
        axis = int_attribute(node, "axis", 0)
        source = makers[node.input[0]].input[0]
        flat, whole = (
            list(values[name].type.tensor_type.shape.dim) if name in values else []
            for name in (node.input[0], source)
        )
        shape = tuple(dim.dim_value for dim in whole[1:])
        if axis == 0 and len(flat) == 1 and shape and all(shape):
            views.append(_View(node, source, shape))
    return views


def _keeps_order(view: _View, index: NDArray[Any], batch: int) -> bool:
    """Return whether an index returns what the flat tensor holds, in the shape of its source."""
    is_whole = index.shape == (batch, *view.shape)
    return is_whole and np.array_equal(index.ravel(), np.arange(index.size))


def _images(model: ModelProto, batch: int, image_size_px: ImageSize | None) -> NDArray[Any]:
    """Return images of noise that the model takes."""
    tensor = model.graph.input[0].type.tensor_type
    height, width = sides_px(image_size_px or _SIZE_PX)
    dims = tensor.shape.dim[1:]
    # Open sides lie before known channels, or behind them.
    is_nhwc = len(dims) == 3 and dims[2].dim_value and not dims[0].dim_value  # noqa: PLR2004
    usual = (height, width, height) if is_nhwc else (height, height, width)
    sizes = [dim.dim_value or side for dim, side in zip(dims, usual, strict=False)]
    x_NCHW = np.random.default_rng(0).random((batch, *sizes), dtype=np.float32)
    return (x_NCHW * 255).astype(np.uint8) if tensor.elem_type == TensorProto.UINT8 else x_NCHW


def _run(model: ModelProto, names: Sequence[str], x_NCHW: NDArray[Any]) -> list[NDArray[Any]]:
    """Return values of a model for some images, by ONNX Runtime."""
    part = ModelProto()
    part.CopyFrom(model)
    types = {value.name: value for value in model.graph.output}
    part.graph.ClearField("output")
    for name in dict.fromkeys(names):
        integers = helper.make_tensor_value_info(name, TensorProto.INT64, None)
        part.graph.output.append(types.get(name, integers))
    rewrite.remove_unused(part.graph)
    session = onnxruntime.InferenceSession(
        part.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names_in = {value.name for value in session.get_inputs()}
    feeds = {value.name: x_NCHW for value in model.graph.input if value.name in names_in}
    values = dict(zip(dict.fromkeys(names), session.run(None, feeds), strict=True))
    return [values[name] for name in names]

"""ONNX files of any exporter, brought to the one form that engines are built from.

That form has one input of images and one output of logits, weights inside and in fp32, images as
floats NCHW or bytes NHWC, and a dynamic batch. Whatever is changed to get there computes the same,
and is said; what cannot be brought there is refused.

Shape legend: N images, C channel, H W space, K classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import onnx
import onnx.inliner
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper

from pipeline.errors import StageError, UsageError, first_line
from pipeline.image_size import ImageSize, sides_px, size_text
from pipeline.settings import Build
from pipeline.texts import whole_number
from stages.engines import ep_context
from stages.onnxgraph import identity_gathers, limits, padding, repair, rewrite
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.rewrite import PLACE

_OLDEST_IR = 4
"""From here on weights need not be listed as inputs."""
_IR = 8
_LARGEST_BYTES = 2**31 - 1
"""What one protobuf message can hold."""
_CHANNELS = (1, 3, 4)
"""Usual ones, by which a layout is recognised first."""
_MOST_CHANNELS = 16
_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
_IMAGE_DIMS = 4


class Intake(NamedTuple):
    """A model in the form that engines are built from."""

    model: ModelProto
    changes: tuple[str, ...]
    """What was changed to get there, a sentence each; empty for files of our own."""
    is_quantized: bool
    """Whether its activations are integers already."""


class OpenSize(StageError):
    """A file leaves the size of its images open, and no setting says it."""


class SeveralOutputs(StageError):
    """A file has several outputs, and no setting says which holds the logits."""


def read(path: Path, options: Build) -> Intake:
    """Return the model of a file in the form that engines are built from.

    Args:
        path: The file; weights may lie in other files of its folder.
        options: Which output holds the logits, and the size of images, where the file leaves it
            open.

    Raises:
        OpenSize, SeveralOutputs: An option has to say what the file leaves open.
        StageError: It is no sound ONNX file, or no classifier of images.
        UsageError: A file that it names is not there, or an option contradicts it.
    """
    model = _load(path)
    limits.check_functions(model)
    graph = model.graph
    if model.ir_version < _OLDEST_IR:
        model.ir_version = _IR
    weights = {tensor.name for tensor in graph.initializer}
    _replace(graph.input, [value for value in graph.input if value.name not in weights])
    changes = list(repair.repair(model))
    inputs = list(graph.input)
    _infer_missing_shapes(model)
    onnx_io.check_sound(model, path, PLACE)
    limits.check(model)
    _choose_output(graph, options.output)
    if len(inputs) != 1:
        raise StageError(
            PLACE,
            f"needs one input, of images ({path} has {len(inputs)}: {_listed(inputs)})",
            "export a network that takes images alone",
        )
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    if types := rewrite.to_fp32(model):
        changes.append(f"its {' and '.join(types)} values were made FLOAT")
    is_quantized = rewrite.is_quantized(model)
    if not is_quantized and rewrite.fold_weights(model):
        changes.append("its weights, stored as integers, were read as floats")
    rewrite.check_finite(model)
    if padding.keep_zero_padding(model):
        changes.append("its zeros ahead of max pooling are 6e-8, which ONNX Runtime leaves there")
    if not is_quantized and (count := identity_gathers.remove(model, options.image_size_px)):
        changes.append(
            "its pooling was read from a flat view by a gather, which OpenVINO's int8 gets wrong, "
            f"and is read as it is ({count} place{'s' * (count > 1)})"
        )
    changes += _fit_images(model, options.image_size_px)
    rewrite.remove_unused(model.graph)
    onnx_io.check_images(model, PLACE)
    limits.check(model)  # now that the size of images is known
    return Intake(model, tuple(changes), is_quantized)


def _load(path: Path) -> ModelProto:
    """Return the model of a file, with the weights that lie in other files of its folder."""
    model = onnx_io.parse(path, PLACE)
    ep_context.refuse(model, PLACE)
    named: dict[str, None] = {}
    for tensor in onnx_io.tensors_of(model):
        for entry in tensor.external_data:
            if entry.key == "location":
                named[entry.value] = None
    size = 0
    for name in named:
        relative = PurePosixPath(name.replace("\\", "/"))
        data = path.parent / relative
        if relative.is_absolute() or ".." in relative.parts:
            raise StageError(
                PLACE,
                f"keeps weights outside its folder ({path}: {name})",
                "export it anew into one folder",
            )
        if not data.is_file():
            raise UsageError(
                PLACE,
                f"keeps weights in a file that is not there ({path} names {name})",
                "put that file beside it, or export with external_data=False",
            )
        size += data.stat().st_size
    if size + path.stat().st_size > _LARGEST_BYTES:
        raise StageError(
            PLACE,
            f"is larger than 2 GiB ({path}: {size} bytes of weights)",
            "use a smaller network",
        )
    if named:
        try:
            onnx.load_external_data_for_model(model, str(path.parent))
        except Exception as error:  # of several classes, by what is wrong
            raise StageError(
                PLACE,
                f"does not fit the file with its weights ({path}: {first_line(error)})",
                "export both again",
            ) from error
    return model


def _infer_missing_shapes(model: ModelProto) -> None:
    """Fill in the types of outputs that the file leaves open, which it may not."""
    if all(output.type.tensor_type.HasField("shape") for output in model.graph.output):
        return
    inferred = rewrite.inferred_values(model)
    for output in model.graph.output:
        if not output.type.tensor_type.HasField("shape") and output.name in inferred:
            output.CopyFrom(inferred[output.name])


def _choose_output(graph: GraphProto, name: str | None) -> None:
    """Leave the one output with the logits."""
    names = list(dict.fromkeys(output.name for output in graph.output))
    if not names:
        raise StageError(PLACE, "gives nothing (0 outputs)", "export a classifier")
    number = whole_number(name) if name is not None and name not in names else None
    if number is not None and number < len(names):
        name = names[number]
    if name is not None and name not in names:
        raise UsageError(
            "build.output", f"is no output of the file ({name})", f"name one of {', '.join(names)}"
        )
    # Logits have two dimensions, features and maps mostly more.
    likely = min(graph.output, key=lambda value: abs(len(value.type.tensor_type.shape.dim) - 2))
    if name is None and len(names) != 1:
        raise SeveralOutputs(
            PLACE,
            f"has more than one output ({len(names)}: {_listed(graph.output)})",
            f"name the one with the logits, such as --set build.output={likely.name}",
        )
    kept = name or names[0]
    _replace(graph.output, [value for value in graph.output if value.name == kept][:1])


def _fit_images(model: ModelProto, image_size_px: ImageSize | None) -> Iterator[str]:
    """Let the model take batches of images of one size in its own layout; yield the changes."""
    images = model.graph.input[0]
    tensor = images.type.tensor_type
    if len(tensor.shape.dim) != _IMAGE_DIMS:
        return
    is_bytes = tensor.elem_type == TensorProto.UINT8
    is_nhwc = _is_nhwc(model.graph, images, is_bytes=is_bytes)
    _fix_channels(model.graph, images, is_nhwc=is_nhwc)
    _fix_size(images, image_size_px, is_nhwc=is_nhwc)
    if is_nhwc != is_bytes:
        shape = onnx_io.shape_text(images)
        perm = _TO_NHWC if is_nhwc else _TO_NCHW
        rewrite.transpose_input(model.graph, perm)
        layouts = ("NHWC", "NCHW") if is_nhwc else ("NCHW", "NHWC")
        yield f"it takes images as {layouts[0]} ({shape}); the engine takes them as {layouts[1]}"
    batch = images.type.tensor_type.shape.dim[0]
    if batch.HasField("dim_value") and batch.dim_value > 0:
        shape = onnx_io.shape_text(images)
        rewrite.free_batch(model)
        yield f"its batch was fixed ({shape}) and was made dynamic"
    elif batch.HasField("dim_value"):
        yield f"its batch of {batch.dim_value} was taken as a dynamic one"
        batch.dim_param = rewrite.BATCH


def _is_nhwc(graph: GraphProto, images: ValueInfoProto, *, is_bytes: bool) -> bool:
    """Return whether channels come last, by what takes the images or else by their number."""
    users = [node for node in graph.node if images.name in node.input]
    perms = [list(helper.get_node_attr_value(node, "perm"))
             for node in users if node.op_type == "Transpose" and node.attribute]  # fmt: skip
    if perms and all(perm == _TO_NCHW for perm in perms):
        return True
    if any(node.op_type == "Conv" for node in users):
        return False
    _, first, _, last = (dim.dim_value for dim in images.type.tensor_type.shape.dim)
    if first in _CHANNELS and last in _CHANNELS:
        return is_bytes
    if first in _CHANNELS or last in _CHANNELS:
        return last in _CHANNELS
    return bool(first > _MOST_CHANNELS >= last > 0)


def _fix_channels(graph: GraphProto, images: ValueInfoProto, *, is_nhwc: bool) -> None:
    """Give images whose channels are left open those that the first convolution takes."""
    channels = images.type.tensor_type.shape.dim[3 if is_nhwc else 1]
    kernels = {tensor.name: tensor.dims for tensor in graph.initializer}
    for node in graph.node if not channels.dim_value else ():
        if node.op_type == "Conv" and images.name in node.input and node.input[1] in kernels:
            channels.dim_value = kernels[node.input[1]][1]


def _fix_size(images: ValueInfoProto, image_size_px: ImageSize | None, *, is_nhwc: bool) -> None:
    """Give images whose height and width are left open the size that the settings name."""
    dims = images.type.tensor_type.shape.dim
    sizes = dims[1:3] if is_nhwc else dims[2:4]
    is_open = not all(dim.dim_value > 0 for dim in sizes)
    if is_open and image_size_px is None:
        raise OpenSize(
            PLACE,
            f"takes images of any size ({onnx_io.shape_text(images)})",
            "name the one to build for: --image-size 224, or 192x256 of height and width, or "
            "build.image_size_px",
        )
    if image_size_px is None:
        return
    for dim, side_px in zip(sizes, sides_px(image_size_px), strict=True):
        if dim.dim_value > 0 and dim.dim_value != side_px:
            raise UsageError(
                "build.image_size_px",
                f"contradicts the file ({size_text(image_size_px)} of height and width, it takes "
                f"{onnx_io.shape_text(images)})",
                "leave it out",
            )
        dim.dim_value = side_px


def fit_output(model: ModelProto) -> tuple[ModelProto, tuple[str, ...]]:
    """Return the model with logits of shape NK, and what was changed for that.

    StageError where its output, whose shape is known, holds no logits.
    """
    output = model.graph.output[0]
    tensor = output.type.tensor_type
    sizes = [dim.dim_value for dim in tensor.shape.dim]
    what = f"{output.name}: {onnx_io.type_name(output)} {onnx_io.shape_text(output)}"
    if tensor.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16):
        raise StageError(
            PLACE,
            f"gives classes or whole numbers in place of logits ({what})",
            "export the network without argmax or top-k at its end",
        )
    if sizes and set(sizes[1:]) <= {1}:
        raise StageError(
            PLACE,
            f"gives one number for an image, which names no class ({what})",
            "let the network end in one output for each class, two where there are two: "
            "[0, z] for a logit z",
        )
    if len(sizes) == 2:  # noqa: PLR2004  (N and K)
        return model, ()
    if len(sizes) < 2 or set(sizes[2:]) != {1}:  # noqa: PLR2004
        raise StageError(
            PLACE,
            f"gives no logits of shape (batch, classes) ({what})",
            "export a classifier, or name another output: --set build.output=NAME",
        )
    return rewrite.flatten_output(model), (f"its output was flattened ({what})",)


def _listed(values: Iterable[ValueInfoProto]) -> str:
    return ", ".join(f"{value.name} {onnx_io.shape_text(value)}" for value in values) or "none"


def _replace(field: Any, values: Sequence[ValueInfoProto]) -> None:
    """Let a repeated field of a graph hold these values alone."""
    copies = [ValueInfoProto.FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)

"""ONNX files: in one portable piece, and checked before anyone loads them."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import Message
from onnx import FunctionProto, GraphProto, ModelProto, TensorProto, ValueInfoProto

from pipeline.atomic import write_bytes
from pipeline.errors import first_line
from pipeline.gates.build_records import Signature
from pipeline.stage import StageError
from stages.engines import ep_context
from stages.foreign_files import recognise
from stages.networks import card as cards
from stages.networks.card import Card
from stages.onnxgraph.layers import ONNX_DOMAINS

INPUT, OUTPUT = "images", "logits"
INPUT_KEY, STUDENT_KEY = "madpipe.input", "madpipe.student_sha256"
_IMAGE_DIMS = 4
_IMAGE_TYPES = (TensorProto.FLOAT, TensorProto.UINT8)


def save(model: ModelProto, path: Path) -> None:
    """Write a model as one file; OSError where it cannot be."""
    write_bytes(path, model.SerializeToString(deterministic=True))


def read(path: Path, place: str) -> ModelProto:
    """Return the model of a file after checking that it stands alone and is sound.

    Raises:
        StageError: No such file, damaged, not ONNX, or data kept outside the file.
    """
    model = parse(path, place)
    ep_context.refuse(model, place)
    for tensor in tensors_of(model):
        if tensor.external_data:
            raise StageError(
                place,
                f"keeps weights outside itself ({path}: {tensor.name})",
                "export it as one file",
            )
    check_sound(model, path, place)
    if len(model.graph.input) != 1 or len(model.graph.output) != 1:
        counts = f"{len(model.graph.input)} and {len(model.graph.output)}"
        raise StageError(
            place, f"needs one input and one output ({path} has {counts})", "export a classifier"
        )
    return model


def parse(path: Path, place: str) -> ModelProto:
    """Return what a file holds, unchecked and without data kept outside it; errors as `read`."""
    if path.is_file() and not path.stat().st_size:
        raise StageError(place, f"is no ONNX file ({path}: 0 bytes)", "export it again")
    try:
        model = onnx.load(str(path), load_external_data=False)
        _check_texts(model)
    except FileNotFoundError as error:
        raise StageError(place, f"no such file ({path})", "correct the path") from error
    except Exception as error:  # protobuf's decode error has no public name
        content = path.read_bytes()
        if foreign := recognise(content):
            raise StageError(place, f"{foreign.what} ({path})", foreign.remedy) from error
        if content[:2] in (b"PK", b"\x80\x02") or content[4:9] == b"\0\0\0\0{":
            wrong = f"is a file of weights, not an ONNX graph ({path})"
            raise StageError(place, wrong, f"use madpipe export --student {path}") from error
        wrong = f"is no ONNX file, or only a part of one ({path}: {len(content)} bytes)"
        raise StageError(place, wrong, "copy it again, or export it again") from error
    return model


def _check_texts(message: Message) -> None:
    """Look at every text of a message; ValueError where one is no UTF-8.

    Reading a file does not, and returns the bytes of such a text: whoever uses it would raise.
    """
    for field in message.DESCRIPTOR.fields:
        is_message = field.message_type is not None
        if not is_message and field.type != field.TYPE_STRING:
            continue
        if is_message and not field.is_repeated and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        for item in value if field.is_repeated else (value,):
            if is_message:
                _check_texts(item)
            elif isinstance(item, bytes):
                raise ValueError(field.name)


def check_sound(model: ModelProto, path: Path, place: str) -> None:
    """Make sure that a model, read from `path`, follows the standard; StageError where not."""
    _check_versions(model, path, place)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # of several classes, by what is wrong
        raise StageError(
            place, f"is no sound ONNX file ({path}: {first_line(error)})", "export it again"
        ) from error


def _check_versions(model: ModelProto, path: Path, place: str) -> None:
    """Make sure that a model is of no later standard than the one that is installed."""
    opsets = (entry.version for entry in model.opset_import if entry.domain in ONNX_DOMAINS)
    for kind, version, newest in (
        ("ir_version", model.ir_version, onnx.IR_VERSION),
        ("opset", max(opsets, default=0), onnx.defs.onnx_opset_version()),
    ):
        if version > newest:
            raise StageError(
                place,
                f"is of a newer ONNX than onnx {onnx.__version__} reads ({path}: {kind} {version}, "
                f"at most {newest})",
                f"save it with {kind} {newest}, or update onnx",
            )


def shape_text(value: ValueInfoProto) -> str:
    """Return the shape of an input or output for messages: `any x 3 x 224 x 224`."""
    dims = value.type.tensor_type.shape.dim
    sizes = [str(dim.dim_value) if dim.HasField("dim_value") else "any" for dim in dims]
    return " x ".join(sizes) or "a scalar"


def has_known_output(model: ModelProto) -> bool:
    """Return whether a model says how many numbers it gives for an image."""
    dims = model.graph.output[0].type.tensor_type.shape.dim
    return len(dims) > 1 and all(dim.dim_value > 0 for dim in dims[1:])


def type_name(value: ValueInfoProto) -> str:
    """Return the type of an input or output, as ONNX calls it."""
    name: str = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    return name


def check_images(model: ModelProto, place: str) -> None:
    """Make sure that a model takes batches of images of any length.

    Raises:
        StageError: Its input has other dimensions, a fixed batch, or a type that no engine takes.
    """
    tensor = model.graph.input[0].type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    shape = shape_text(model.graph.input[0])
    if tensor.elem_type not in _IMAGE_TYPES:
        name = type_name(model.graph.input[0])
        known = ", ".join(TensorProto.DataType.Name(elem_type) for elem_type in _IMAGE_TYPES)
        raise StageError(place, f"takes images of another type ({name})", f"export with {known}")
    if len(sizes) != _IMAGE_DIMS or min(size or 0 for size in sizes[1:]) < 1:
        raise StageError(
            place,
            f"takes no batches of images of one size ({shape})",
            "export a classifier whose input is (batch, channels, height, width)",
        )
    if sizes[0] is not None:
        raise StageError(
            place, f"has a fixed batch ({shape})", "export it with a dynamic first dimension"
        )


def image_shape(model: ModelProto) -> tuple[int, int, int]:
    """Return channels, height and width of the images that a checked model takes."""
    tensor = model.graph.input[0].type.tensor_type
    first, second, third = (dim.dim_value for dim in tensor.shape.dim[1:])
    is_bytes = tensor.elem_type == TensorProto.UINT8
    return (third, first, second) if is_bytes else (first, second, third)


def signature(model: ModelProto) -> Signature:
    """Return what a model whose images were checked takes and gives."""
    images, logits = model.graph.input[0], model.graph.output[0]
    outputs = logits.type.tensor_type
    card = card_of(model)
    is_bytes = images.type.tensor_type.elem_type == TensorProto.UINT8
    return Signature(
        input=images.name,
        input_type=type_name(images),
        shape=image_shape(model),
        layout="NHWC" if is_bytes else "NCHW",
        value_range=(0, 255 if is_bytes else 1),
        output=logits.name,
        output_type=TensorProto.DataType.Name(outputs.elem_type),
        num_classes=outputs.shape.dim[-1].dim_value if outputs.shape.dim else 0,
        arch=card.arch if card else "",
        classes=card.classes if card else (),
    )


def tensors_of(model: ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor that a model holds, also in nodes, functions and inner graphs."""
    return itertools.chain.from_iterable(map(_tensors, (model.graph, *model.functions)))


def _tensors(part: GraphProto | FunctionProto) -> Iterator[TensorProto]:
    """Yield every tensor that a graph or function holds, also in its nodes and their subgraphs."""
    if isinstance(part, GraphProto):
        yield from part.initializer
        for sparse in part.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in part.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def card_of(model: ModelProto) -> Card | None:
    """Return the card that a model carries, None where it is not ours."""
    return cards.from_metadata({entry.key: entry.value for entry in model.metadata_props})

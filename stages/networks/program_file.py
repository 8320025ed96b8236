"""Programs as users have them, brought to the form that a teacher is kept in.

That form takes floats in batches of any length; an ONNX file has one output and its weights inside.

Shape legend: N images, C channel, H W space.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import torch
from onnx import TensorProto
from torch import Tensor

from models.programs import exported_program
from models.programs.fault import UnusableProgram
from models.programs.kinds import ProgramKind
from models.programs.program import Program, content_of
from pipeline.errors import StageError, UsageError
from pipeline.image_size import MOST_CHANNELS, compact
from pipeline.settings import Build
from stages.networks.card import Card
from stages.networks.program_kind import program_kind
from stages.onnxgraph import intake, layers
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.rewrite import PLACE

_SETTINGS = {PLACE: "teacher.weights", "build.output": "teacher.output"}
_QUANTIZED = (
    "its activations are integers, whose roundings gradients pass straight through: the float "
    "network would be the better teacher"
)


class ProgramFile(NamedTuple):
    """A program with what it says of its images; None: nothing."""

    kind: ProgramKind
    content: Tensor
    """Its bytes, as uint8."""
    layout: Literal["NCHW", "NHWC"]
    channels: int | None
    size_px: tuple[int, int] | None
    """Height and width."""
    takes_bytes: bool
    """Whether its input is of the type of bytes."""
    card: Card | None
    """What madpipe wrote into the file."""
    output: str | None = None
    """Of an ONNX file the output with the logits, which alone is left."""
    notes: tuple[str, ...] = ()
    """What was changed to bring it here."""


def read(path: Path, *, output: str | None, size_px: tuple[int, int] | None) -> ProgramFile:
    """Return the program in a file.

    Args:
        path: The file.
        output: The output with the logits, where the settings name one.
        size_px: Height and width of the images, where the settings name them.

    Raises:
        StageError: It is damaged, unsafe, or no classifier of images.
    """
    kind = program_kind(path)
    assert kind is not None
    if kind == "onnx":
        return _onnx(path, output, size_px)
    content = content_of(path.read_bytes())
    try:
        network = Program(kind, content).network
    except UnusableProgram as error:
        raise StageError("teacher.weights", f"{error.wrong} ({path})", error.remedy) from error
    if kind == "torchscript":
        kernels = [tensor for tensor in network.buffers() if tensor.ndim == 4]  # noqa: PLR2004
        channels = min((kernel.shape[1] for kernel in kernels), default=None)
        return ProgramFile(kind, content, "NCHW", channels, None, takes_bytes=False, card=None)
    assert isinstance(network, torch.fx.GraphModule)
    return _exported(path, content, network)


def _exported(path: Path, content: Tensor, network: torch.fx.GraphModule) -> ProgramFile:
    shape, dtype = exported_program.input_shape(network), exported_program.input_dtype(network)
    if len(shape) != 4 or dtype not in (torch.float32, torch.uint8):  # noqa: PLR2004
        text = " x ".join(str(size or "any") for size in shape)
        kind = str(dtype).removeprefix("torch.")
        raise StageError(
            "teacher.weights",
            f"takes no batches of images in float32 or bytes ({path}: {kind} of {text})",
            "export a classifier whose input is (batch, channels, height, width)",
        )
    is_last = _is_channels(shape[3]) and not _is_channels(shape[1])
    channels, height, width = (shape[n] for n in ((3, 1, 2) if is_last else (1, 2, 3)))
    return ProgramFile(
        "pt2",
        content,
        "NHWC" if is_last else "NCHW",
        channels,
        (height, width) if height and width else None,
        takes_bytes=dtype == torch.uint8,
        card=None,
    )


def _is_channels(size: int | None) -> bool:
    return size is not None and size <= MOST_CHANNELS


def _read(path: Path, output: str | None, size_px: tuple[int, int] | None) -> intake.Intake:
    """Return an ONNX file as engines take it; a size counts only where the file has none."""
    try:
        return intake.read(path, Build(output=output))
    except intake.OpenSize:
        if size_px is None:
            raise
        return intake.read(path, Build(output=output, image_size_px=compact(size_px)))


def _onnx(path: Path, output: str | None, size_px: tuple[int, int] | None) -> ProgramFile:
    try:
        read = _read(path, output, size_px)
        model = read.model
        onnx_io.check_images(model, PLACE)
    except (StageError, UsageError) as error:
        remedy = error.remedy
        if isinstance(error, intake.SeveralOutputs):
            remedy = "name the one with the logits in teacher.output"
        elif isinstance(error, intake.OpenSize):
            remedy = "set data.image_size_px to the height and width that it is for"
        place = _SETTINGS.get(error.place, error.place)
        raise StageError(place, f"{error.wrong} ({path.name})", remedy) from error
    channels, height, width = onnx_io.image_shape(model)
    images = model.graph.input[0].type.tensor_type
    takes_bytes = images.elem_type == TensorProto.UINT8
    images.elem_type = TensorProto.FLOAT  # gradients are of floats alone
    content = layers.with_names(model).SerializeToString(deterministic=True)
    return ProgramFile(
        "onnx",
        content_of(content),
        "NHWC" if takes_bytes else "NCHW",
        channels,
        (height, width),
        takes_bytes=takes_bytes,
        card=onnx_io.card_of(model),
        output=model.graph.output[0].name,
        notes=read.changes + ((_QUANTIZED,) if read.is_quantized else ()),
    )

"""How images become the input of an ONNX file: by what it records, what options say, or the usual.

Shape legend: C channels.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import onnx
from onnx import ModelProto, TensorProto

from pipeline import stored_files
from pipeline.errors import UsageError
from pipeline.preprocessing import Origin, Preprocessing, size_fields
from stages.networks import card as cards
from stages.networks.facts import IN_THE_GRAPH, OPTIONS, Facts
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph import rewrite

KEY = "madpipe.preprocessing"
"""Of the metadata in which a file of another program keeps what options say of it."""
_RANGE = "the ONNX file does not say what range it takes: images in [0, 1], which it normalises"
_BYTES = "the ONNX file takes bytes: images as decoded, which it normalises"
_CUT = "the ONNX file does not say how images are scaled"
_NUMBERED = "the ONNX file names no classes"
_NEUTRAL = {"mean": 0.0, "std": 1.0}
"""Mean and std that leave images as they are."""
_NORMALISED = (
    "the step from images in [0, 1] to its own, by --mean and --std, became part of the engine, "
    "which takes images in [0, 1]"
)


def preprocessing_of(model: ModelProto) -> Preprocessing:
    """Return how images become the input of a model whose images were checked."""
    if card := onnx_io.card_of(model):
        fields = {name: getattr(card, name) for name in Preprocessing.__struct_fields__}
        return Preprocessing(**fields)
    for entry in model.metadata_props:
        if entry.key == KEY:
            return stored_files.decode(entry.value, Preprocessing)
    channels, height, width = onnx_io.image_shape(model)
    signature = onnx_io.signature(model)
    is_bytes = signature.input_type == "UINT8"
    unknown = Origin(kind="assumed", reason=_BYTES if is_bytes else _RANGE)
    cut = {name: Origin(kind="assumed", reason=_CUT) for name in ("resize_px", "interpolation")}
    return Preprocessing(
        channels=channels,
        **size_fields((height, width)),
        mean=(),
        std=(),
        classes=tuple(str(number) for number in range(signature.num_classes)),
        origins={"mean": unknown, "std": unknown}
        | cut
        | {"classes": Origin(kind="assumed", reason=_NUMBERED)},
    )


def describe(model: ModelProto, facts: Facts) -> tuple[str, ...]:
    """Write what options say of a model's images into it; return what that changed in the graph.

    Mean and std become its first operations, so that it takes images in [0, 1].

    Raises:
        UsageError: An option contradicts what the file records, or does not fit it.
    """
    own = preprocessing_of(model)
    values = {name: value for name, value in facts._asdict().items() if value is not None}
    values.pop("image_size_px", None)  # the graph has it, and was made to
    for name in ("mean", "std"):
        if name in values and len(values[name]) == 1:  # one number stands for all channels
            values[name] *= own.channels
    changes = {name: value for name, value in values.items() if value != getattr(own, name, None)}
    for name, value in changes.items():
        _check(model, own, name, value)
    origins = dict(own.origins) | {name: Origin(kind="option") for name in values}
    if facts.image_size_px is not None:
        origins["image_size_px"] = Origin(kind="option")
    described = msgspec.structs.replace(own, **changes, origins=origins)
    if card := onnx_io.card_of(model):
        card = msgspec.structs.replace(card, **changes, origins=origins)
        _record(model, cards.metadata(card))
        return ()
    _record(model, {KEY: msgspec.json.encode(described, order="deterministic").decode()})
    if all(set(changes.get(name, (value,))) == {value} for name, value in _NEUTRAL.items()):
        return ()
    rewrite.normalise_input(model.graph, described.mean, described.std)
    return (_NORMALISED,)


def _check(model: ModelProto, own: Preprocessing, name: str, value: Any) -> None:
    """Make sure that what an option says can be so; UsageError where not."""
    recorded = getattr(own, name, None)
    is_ours = onnx_io.card_of(model) is not None
    if name not in own.assumed or (is_ours and name in IN_THE_GRAPH):
        raise UsageError(
            OPTIONS[name],
            f"contradicts the ONNX file ({value}, not {recorded})",
            "leave it out, or export the file again with it",
        )
    if name in _NEUTRAL:
        is_bytes = model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
        if is_bytes and set(value) != {_NEUTRAL[name]}:
            raise UsageError(
                OPTIONS[name],
                f"is of networks that take floats ({value}; the file takes bytes)",
                "leave it out: what takes bytes normalises them itself",
            )
        if len(value) != own.channels:
            wrong = f"does not fit the network ({len(value)} numbers, {own.channels} channels)"
            raise UsageError(OPTIONS[name], wrong, "give one for each channel")
    if name == "classes" and len(value) != own.num_classes:
        wrong = f"names {len(value)} classes, the network has {own.num_classes}"
        raise UsageError(OPTIONS[name], wrong, "name each class once, in its order")
    if name == "resize_px" and value < min(own.size_px):
        wrong = f"is less than is cut out ({value}; {min(own.size_px)})"
        raise UsageError(OPTIONS[name], wrong, "drop it, or give at least as much")


def _record(model: ModelProto, texts: Mapping[str, str]) -> None:
    """Put texts into a model's metadata, in place of those under the same keys."""
    properties = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**properties, **texts})

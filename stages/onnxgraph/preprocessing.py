"""How images become the input of an ONNX file: by its card, or the usual way."""

import msgspec
from onnx import ModelProto

from pipeline.preprocessing import Origin, Preprocessing
from stages.onnxgraph import io as onnx_io

_RANGE = "the ONNX file does not say what range it takes: images in [0, 1], which it normalises"
_BYTES = "the ONNX file takes bytes: images as decoded, which it normalises"
_CUT = "the ONNX file does not say how images are scaled"
_NUMBERED = "the ONNX file names no classes"


def preprocessing_of(model: ModelProto) -> Preprocessing:
    """Return how images become the input of a model whose images were checked."""
    channels, height, width = onnx_io.image_shape(model)
    if card := onnx_io.card_of(model):
        fields = {name: getattr(card, name) for name in Preprocessing.__struct_fields__}
        return Preprocessing(**fields)
    signature = onnx_io.signature(model)
    reason = _BYTES if signature.input_type == "UINT8" else _RANGE
    unknown = {name: Origin(kind="assumed", reason=reason) for name in ("mean", "std")}
    cut = {name: Origin(kind="assumed", reason=_CUT) for name in ("resize_px", "interpolation")}
    return Preprocessing(
        channels=channels,
        image_size_px=height,
        width_px=None if width == height else width,
        mean=(),
        std=(),
        classes=tuple(str(number) for number in range(signature.num_classes)),
        origins=unknown | cut | {"classes": Origin(kind="assumed", reason=_NUMBERED)},
    )


def changed(preprocessing: Preprocessing, **facts: object) -> Preprocessing:
    """Return it with the values that an option says; those that are None say nothing."""
    values = {name: value for name, value in facts.items() if value is not None}
    origins = dict(preprocessing.origins) | {name: Origin(kind="option") for name in values}
    return msgspec.structs.replace(preprocessing, **values, origins=origins)

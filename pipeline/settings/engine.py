"""The tables [export] and [build]: from the student to an engine."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.kinds import Rate, Table
from pipeline.settings.tensorrt import TensorRT

BackendName = Literal["auto", "tensorrt", "tensorrt-rtx", "onnxruntime", "openvino"]
DeviceName = Literal["auto", "cpu", "cuda"]
PrecisionName = Literal["auto", "fp32", "fp16", "bf16", "int8", "fp8"]


class Export(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The student as an ONNX file."""

    opset: Annotated[int, Meta(ge=18, le=23, description="ONNX operator set")] = 18
    max_logit_difference: Annotated[
        Rate, Meta(description="largest difference to torch that passes, in logits")
    ] = 1e-3


class Build(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ONNX file as an engine."""

    backend: Annotated[
        BackendName, Meta(description="what runs the engine; auto: the best that is here")
    ] = "auto"
    device: Annotated[DeviceName, Meta(description="auto: the best that the backend finds")] = (
        "auto"
    )
    precision: Annotated[
        PrecisionName, Meta(description="arithmetic of the engine; auto: the backend's default")
    ] = "auto"
    targets: Annotated[
        tuple[str, ...],
        Meta(
            description='tensorrt-rtx: architectures to build for ahead of time, ["sm89"]; '
            "empty: the GPU that is here"
        ),
    ] = ()
    tensorrt: TensorRT = TensorRT()

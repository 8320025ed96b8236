"""The tables [export], [build] and [build.tensorrt]: from the student to an engine."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.kinds import Count, Rate, Table

BackendName = Literal["auto", "tensorrt", "tensorrt-rtx", "onnxruntime", "openvino"]
DeviceName = Literal["auto", "cpu", "cuda"]
PrecisionName = Literal["auto", "fp32", "fp16", "bf16", "int8", "fp8"]
InputName = Literal["float-nchw", "uint8-nhwc"]
CalibrationMethodName = Literal["minmax", "percentile", "entropy"]
HardwareName = Literal["none", "same-compute-capability", "ampere-plus"]
WeightsName = Literal["kept", "refittable", "stripped"]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Export(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The student as an ONNX file."""

    input: Annotated[
        InputName, Meta(description="what the graph takes: floats in [0, 1], or bytes as decoded")
    ] = "float-nchw"
    opset: (
        Annotated[
            int, Meta(ge=18, le=23, description="ONNX operator set; absent: the backend's newest")
        ]
        | None
    ) = None
    max_logit_difference: Annotated[
        Rate, Meta(description="largest difference to torch that passes, in logits")
    ] = 1e-3
    min_agreement: Annotated[
        Share, Meta(description="least share of the bank on which the file says torch's class")
    ] = 0.998


class TensorRT(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For backends tensorrt and tensorrt-rtx. Networks are always strongly typed."""

    min_batch: Annotated[Count, Meta(description="smallest batch that the engine takes")] = 1
    opt_batch: Annotated[Count, Meta(description="batch that it is optimised for")] = 32
    max_batch: Annotated[Count, Meta(description="largest batch that it takes")] = 256
    optimization_level: Annotated[
        int, Meta(ge=0, le=5, description="how long the builder searches; TensorRT's own is 3")
    ] = 3
    workspace_mib: Annotated[
        Count | None, Meta(description="most scratch memory; absent: TensorRT's own limit")
    ] = None
    tf32: Annotated[
        bool, Meta(description="let fp32 convolutions use TF32, which has 10 bits of mantissa")
    ] = True
    timing_cache: Annotated[
        bool, Meta(description="keep measured kernels for later builds; tensorrt only")
    ] = True
    hardware_compatibility: Annotated[
        HardwareName, Meta(description="other GPUs that may load the engine; tensorrt only")
    ] = "none"
    version_compatible: Annotated[
        bool, Meta(description="newer TensorRT may load the engine; tensorrt only")
    ] = False
    weights: Annotated[
        WeightsName,
        Meta(description="whether they can be replaced, or are left out, to be refitted"),
    ] = "kept"
    cuda_graph: Annotated[
        bool, Meta(description="replay a captured CUDA graph instead of launching kernels")
    ] = False


class Build(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ONNX file as an engine."""

    backend: Annotated[
        BackendName, Meta(description="what runs the engine; auto: the best that is here")
    ] = "auto"
    device: Annotated[DeviceName, Meta(description="auto: the best that the backend finds")] = (
        "auto"
    )
    precision: Annotated[
        PrecisionName,
        Meta(description="arithmetic; auto: the fastest that agrees with fp32"),
    ] = "auto"
    targets: Annotated[
        tuple[str, ...],
        Meta(
            description='tensorrt-rtx: architectures to build for ahead of time, ["sm89"]; '
            "empty: the GPU that is here"
        ),
    ] = ()
    calibration_method: Annotated[
        CalibrationMethodName, Meta(description="int8: how ranges come from the bank's activations")
    ] = "percentile"
    calibration_images: Annotated[
        Count, Meta(description="int8, fp8: images of the bank that ranges come from")
    ] = 256
    float_layers: Annotated[
        tuple[str, ...],
        Meta(description='layers kept in fp32 at any precision: "first", "last" or names'),
    ] = ()
    max_disagreement: Annotated[
        Share, Meta(description="auto: largest share of the bank whose class may differ from fp32")
    ] = 0.01
    bisect_layers: Annotated[
        int, Meta(ge=0, description="auto: layers to return to fp32 where int8 differs too much")
    ] = 2
    tensorrt: TensorRT = TensorRT()

"""The tables [export], [build] and [build.tensorrt]."""

from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from pipeline.image_size import compact
from pipeline.settings.kinds import Count, Rate, Share, SizeOfImages, Table

BackendName = Literal["auto", "tensorrt", "tensorrt-rtx", "onnxruntime", "openvino"]
DeviceName = Literal["auto", "cpu", "cuda", "cuda-tensorrt", "cuda-tensorrt-rtx"]
PrecisionName = Literal["auto", "fp32", "fp16", "bf16", "int8", "fp8", "int4"]
InputName = Literal["float-nchw", "uint8-nhwc"]
Int8Name = Literal["auto", "rounded", "trained"]
CalibrationMethodName = Literal["minmax", "percentile", "entropy"]
HardwareName = Literal["none", "same-compute-capability", "ampere-plus"]
WeightsName = Literal["kept", "refittable", "stripped"]


class Export(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The student as an ONNX file."""

    input: InputName = "float-nchw"
    """what the graph takes: floats in [0, 1], or bytes as decoded"""
    opset: Annotated[int, Meta(ge=18, le=23)] | None = None
    """ONNX operator set; absent: the backend's newest"""
    max_relative_difference: Rate = 1e-3
    """largest difference to torch that passes, as a share of the spread of the logits"""
    max_logit_difference: Rate | None = None
    """the same in logits, where that is to be bounded as well"""
    min_agreement: Share = 0.998
    """least share of the bank on which the file says torch's class"""


class TensorRT(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For backends tensorrt and tensorrt-rtx. Networks are always strongly typed."""

    min_batch: Count = 1
    """smallest batch that the engine takes"""
    opt_batch: Count = 32
    """batch that it is optimised for"""
    max_batch: Count = 256
    """largest batch that it takes"""
    optimization_level: Annotated[int, Meta(ge=0, le=5)] = 3
    """how long the builder searches; TensorRT's own is 3"""
    workspace_mib: Count | None = None
    """most scratch memory; absent: TensorRT's own limit"""
    tf32: bool = True
    """let fp32 convolutions use TF32, which has 10 bits of mantissa"""
    timing_cache: bool = True
    """keep measured kernels for later builds; tensorrt only"""
    hardware_compatibility: HardwareName = "none"
    """other GPUs that may load the engine; tensorrt only"""
    version_compatible: bool = False
    """newer TensorRT may load the engine; tensorrt only"""
    weights: WeightsName = "kept"
    """whether they can be replaced, or are left out, to be refitted"""
    cuda_graph: bool = False
    """replay a captured CUDA graph instead of launching kernels"""


class Build(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ONNX file as an engine."""

    backend: BackendName = "auto"
    """what runs the engine; auto: the best that is here"""
    device: DeviceName = "auto"
    """auto: the best that the backend finds; cuda-tensorrt and cuda-tensorrt-rtx: ONNX Runtime's
    execution providers of these names, where they are installed"""
    ep_context: bool = False
    """keep what such an execution provider compiled as the engine (EPContext), for this GPU and
    version alone, so that opening it compiles nothing; off: the ONNX file is the engine"""
    precision: PrecisionName = "auto"
    """arithmetic; auto: the fastest that agrees with fp32"""
    targets: tuple[str, ...] = ()
    """tensorrt-rtx: architectures to build for ahead of time, ["sm89"]; empty: the GPU that is
    here"""
    calibration_method: CalibrationMethodName = "percentile"
    """int8: how ranges come from the bank's activations"""
    int8: Int8Name = "auto"
    """how weights become int8 or int4: rounded, or trained on with rounding, as distillation on the
    generators' images; auto: trained where rounding changes more classes than max_disagreement. Of
    a file from anywhere auto is rounded, and trained uses the calibration images"""
    int8_steps: Count = 200
    """steps of that training"""
    int8_batch_size: Annotated[int, Meta(ge=2)] | None = None
    """images in one of them; absent: 256 up to 32 pixels, fewer of larger ones, 16 from 128 on"""
    int8_learning_rate: Rate = 1e-3
    """at its start (Adam); it falls to 0 along a cosine"""
    calibration_images: Count = 256
    """int8, fp8: images of the bank that ranges come from, half of them real with distill.images;
    int4: that it is compared on"""
    equalise: bool = True
    """int8, fp8, int4: bring channels between two layers to one range before rounding, where they
    are far apart; the function stays"""
    float_layers: tuple[str, ...] = ()
    """layers kept in fp32 at any precision: "first", "last" or names"""
    max_disagreement: Share = 0.01
    """auto: largest share of the bank whose class may differ from fp32"""
    bisect_layers: Annotated[int, Meta(ge=0)] = 2
    """auto: layers to return to fp32 where int8 differs too much"""
    output: str | None = None
    """which output has the logits, where a file has more than one"""
    image_size_px: SizeOfImages | None = None
    """height and width to build for, or [height, width] where they differ, where a file leaves
    them open"""
    tensorrt: TensorRT = TensorRT()

    def __post_init__(self) -> None:
        """Write an image size of two equal sides as one number, so that it has one key."""
        if self.image_size_px is not None:
            force_setattr(self, "image_size_px", compact(self.image_size_px))

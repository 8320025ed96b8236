"""The tables from [export] to [compare]: the engine, what is measured of it, and the bounds."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.training import Confidence, Count, Rate, Share, Table, Weight

BackendName = Literal["auto", "tensorrt", "tensorrt-rtx", "onnxruntime", "openvino"]
DeviceName = Literal["auto", "cpu", "cuda"]
PrecisionName = Literal["auto", "fp32", "fp16", "bf16", "int8", "fp8"]
InputName = Literal["float-nchw", "uint8-nhwc"]
CalibrationMethodName = Literal["minmax", "percentile", "entropy"]
HardwareName = Literal["none", "same-compute-capability", "ampere-plus"]
WeightsName = Literal["kept", "refittable", "stripped"]


class Export(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The student as an ONNX file."""

    input: InputName = "float-nchw"
    """what the graph takes: floats in [0, 1], or bytes as decoded"""
    opset: Annotated[int, Meta(ge=18, le=23)] | None = None
    """ONNX operator set; absent: the backend's newest"""
    max_logit_difference: Rate = 1e-3
    """largest difference to torch that passes, in logits"""
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
    """auto: the best that the backend finds"""
    precision: PrecisionName = "auto"
    """arithmetic; auto: the fastest that agrees with fp32"""
    targets: tuple[str, ...] = ()
    """tensorrt-rtx: architectures to build for ahead of time, ["sm89"]; empty: the GPU that is
    here"""
    calibration_method: CalibrationMethodName = "percentile"
    """int8: how ranges come from the bank's activations"""
    calibration_images: Count = 256
    """int8, fp8: images of the bank that ranges come from"""
    float_layers: tuple[str, ...] = ()
    """layers kept in fp32 at any precision: "first", "last" or names"""
    max_disagreement: Share = 0.01
    """auto: largest share of the bank whose class may differ from fp32"""
    bisect_layers: Annotated[int, Meta(ge=0)] = 2
    """auto: layers to return to fp32 where int8 differs too much"""
    tensorrt: TensorRT = TensorRT()


class Validate(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accuracy and latency, measured. What is judged is in [gates]."""

    images: Literal["held-out", "bank"] = "held-out"
    """bank: there are no labelled images, so agreement with the teacher on synthetic ones takes the
    place of accuracy; needs teacher.weights"""
    batch_sizes: Annotated[tuple[Count, ...], Meta(min_length=1)] = (1, 32)
    """latency is measured at each of them"""
    pairs: Annotated[int, Meta(ge=20)] = 400
    """interleaved teacher and engine calls at each batch size"""
    processes: Count = 1
    """fresh processes among which the pairs are shared out"""
    process_spread: Weight = 0.01
    """relative standard deviation between processes that is assumed where one process measures
    alone; widens the intervals of latency"""
    warmup_s: Rate = 0.5
    """least warm-up before each measurement"""
    threads: Count = 1
    """CPU threads of teacher and engine alike"""
    teacher_engine: bool = True
    """also measure the teacher as an engine of the same backend"""


class Gate(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on one measured quantity. Changing them measures nothing again."""

    min: float | None = None
    """least value that passes"""
    max: float | None = None
    """largest value that passes"""
    margin: float | None = None
    """for drops, the same as max: the loss that is accepted"""
    confidence: Confidence = 0.95
    """one-sided confidence that a verdict needs"""
    severity: Literal["error", "warn"] = "error"
    """warn: shown, but the exit code ignores it"""

    @property
    def most(self) -> float | None:
        """Return the largest value that passes, None where there is none."""
        return self.max if self.max is not None else self.margin


DEFAULT_GATES = {
    "student_top1_drop": Gate(max=0.03),
    "engine_top1_drop": Gate(max=0.005),
    "speedup": Gate(min=2.0),
}

DEFAULT_COMPARE = {"engine_top1_drop": Gate(max=0.01), "latency_ratio": Gate(max=1.1)}

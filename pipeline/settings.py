"""The settings: one frozen record for each table of pipeline.toml.

Each field carries its bounds and the one sentence that documents it; pipeline.toml is
rendered from them, so a default and its description live here and nowhere else.
Knows nothing of files: reading and fault reports are in `pipeline.config`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Weight = Annotated[float, Meta(ge=0.0)]
Rate = Annotated[float, Meta(gt=0.0)]
Confidence = Annotated[float, Meta(ge=0.5, lt=1.0)]

SourceName = Literal["digits", "cifar10", "cifar100", "folder"]
BackendName = Literal["auto", "tensorrt", "tensorrt-rtx", "onnxruntime", "openvino"]
DeviceName = Literal["auto", "cpu", "cuda"]
PrecisionName = Literal["auto", "fp32", "fp16", "bf16", "int8", "fp8"]


class Table(msgspec.Struct, frozen=True):
    """What every table of settings has in common."""


class Data(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Labelled images, to train the default teacher and to validate. Distill never sees them."""

    source: Annotated[
        SourceName, Meta(description="where the images come from; digits needs no files")
    ] = "digits"
    root: Annotated[
        str,
        Meta(
            description="folder with the files, relative to this file; "
            'for "folder": one sub-folder of images for each class'
        ),
    ] = "data"
    image_size_px: (
        Annotated[
            int, Meta(ge=8, le=1024, description="height and width; absent: the source's own")
        ]
        | None
    ) = None
    mean: Annotated[
        tuple[float, ...],
        Meta(description="of each channel, images in [0, 1]; empty: the source's own"),
    ] = ()
    std: Annotated[
        tuple[Rate, ...],
        Meta(description="of each channel, images in [0, 1]; empty: the source's own"),
    ] = ()
    held_out_fraction: Annotated[
        float,
        Meta(gt=0.0, lt=1.0, description='share of a "folder" held out for validation'),
    ] = 0.3


class Teacher(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network to distil from."""

    arch: Annotated[
        str,
        Meta(
            min_length=1,
            description='a name from the registry, "torchvision:NAME", "timm:NAME" or '
            '"FILE.py:FUNCTION"',
        ),
    ] = "resnet14"
    weights: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="safetensors or torch checkpoint, relative to this file; "
                "absent: the teacher is trained",
            ),
        ]
        | None
    ) = None
    epochs: Annotated[Count, Meta(description="passes over the training images")] = 40
    batch_size: Annotated[int, Meta(ge=2, description="images in a training step")] = 64
    learning_rate: Annotated[Rate, Meta(description="peak of the one-cycle schedule")] = 0.1
    weight_decay: Annotated[Weight, Meta(description="L2 penalty of SGD")] = 5e-4


class Student(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network to distil into."""

    arch: Annotated[str, Meta(min_length=1, description="as for the teacher")] = "resnet8"


class Distill(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Momentum Adversarial Distillation. Defaults are madpipe's unless a source is named."""

    method: Annotated[
        Literal["mad", "abm"],
        Meta(description="mad, or abm: the same without the EMA generator"),
    ] = "mad"
    rounds: Annotated[
        Count, Meta(description="one round: the generator step, then the student steps")
    ] = 800
    student_steps: Annotated[Count, Meta(description="student steps in a round")] = 2
    batch_size: Annotated[
        int, Meta(ge=2, description="images drawn from each generator for one student step")
    ] = 128
    alpha: Annotated[
        float, Meta(ge=0.0, lt=1.0, description="momentum of the EMA generator (paper: 0.95)")
    ] = 0.95
    lambda0: Annotated[
        Weight, Meta(description="weight of the generator's samples in the student's loss")
    ] = 1.0
    lambda1: Annotated[Weight, Meta(description="weight of the EMA generator's samples")] = 1.0
    generator: Annotated[
        Literal["uncond"], Meta(description="kind of generator; uncond: noise alone")
    ] = "uncond"
    generator_width: Annotated[
        int, Meta(ge=2, multiple_of=2, description="channels of the generator's first map")
    ] = 128
    noise_dim: Annotated[Count, Meta(description="length of the noise vector")] = 100
    loss: Annotated[
        Literal["kl", "l1"],
        Meta(description="distance to the teacher: kl of predictions or l1 of logits"),
    ] = "l1"
    temperature: Annotated[Rate, Meta(description="of the softmax in the kl loss")] = 1.0
    student_learning_rate: Annotated[
        Rate, Meta(description="peak of the student's one-cycle schedule (SGD)")
    ] = 0.05
    student_weight_decay: Annotated[Weight, Meta(description="L2 penalty of the student")] = 5e-4
    generator_learning_rate: Annotated[Rate, Meta(description="of the generator (Adam)")] = 1e-3
    adversarial_weight: Annotated[
        Weight, Meta(description="how much the generator seeks disagreement")
    ] = 1.0
    batch_norm_weight: Annotated[
        Weight, Meta(description="how much its images match the teacher's BatchNorm moments")
    ] = 1.0
    one_hot_weight: Annotated[
        Weight, Meta(description="how much the teacher must be sure of its images")
    ] = 1.0
    balance_weight: Annotated[
        Weight, Meta(description="how much its images spread over the classes")
    ] = 1.0
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        Meta(description="arithmetic of the networks; auto: bf16 where the hardware has it"),
    ] = "auto"
    bank_size: Annotated[
        Count, Meta(description="synthetic images to keep for checks and calibration")
    ] = 512


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


class Validate(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accuracy and latency, measured. What is judged is in [gates]."""

    batch_sizes: Annotated[
        tuple[Count, ...], Meta(min_length=1, description="latency is measured at each of them")
    ] = (1, 32)
    pairs: Annotated[
        int, Meta(ge=20, description="interleaved teacher and engine calls at each batch size")
    ] = 400
    warmup_s: Annotated[Rate, Meta(description="least warm-up before each measurement")] = 0.5
    threads: Annotated[Count, Meta(description="CPU threads of teacher and engine alike")] = 1


class Run(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to run, none of which changes a result or is part of a key."""

    checkpoint_every_s: Annotated[
        Weight, Meta(description="seconds between checkpoints of teacher and distill")
    ] = 15.0
    lock_wait_s: Annotated[
        Weight, Meta(description="how long to wait for another process on the working folder")
    ] = 3600.0


class Gate(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on one measured quantity. Changing them measures nothing again."""

    min: Annotated[float, Meta(description="least value that passes")] | None = None
    max: Annotated[float, Meta(description="largest value that passes")] | None = None
    confidence: Annotated[
        Confidence, Meta(description="one-sided confidence that a verdict needs")
    ] = 0.95


DEFAULT_GATES = {
    "student_top1_drop": Gate(max=0.03),
    "engine_top1_drop": Gate(max=0.005),
    "speedup": Gate(min=2.0),
}


class Settings(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of pipeline.toml."""

    seed: Annotated[
        int, Meta(ge=0, lt=2**32, description="of every random choice but the digits' fixed split")
    ] = 0
    data: Data = Data()
    teacher: Teacher = Teacher()
    student: Student = Student()
    distill: Distill = Distill()
    export: Export = Export()
    build: Build = Build()
    validate: Validate = Validate()
    run: Run = Run()
    gates: dict[str, Gate] = msgspec.field(default_factory=lambda: dict(DEFAULT_GATES))

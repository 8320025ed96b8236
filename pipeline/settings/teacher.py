"""The tables [teacher] and [student]."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.kinds import Count, Name, Rate, Table, Weight


class Teacher(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network to distil from."""

    arch: Name = "resnet14"
    """a name from the registry, "torchvision:NAME", "timm:NAME" or "FILE.py:FUNCTION"; weights by
    name bring their own"""
    weights: Name | None = None
    """safetensors or torch checkpoint, or a network that needs no arch: .onnx, .pt2, TorchScript;
    relative to this file, or by name: "torchvision:MEMBER", "timm:NAME.TAG" or
    "hf:OWNER/REPO[@REVISION]"; absent: the teacher is trained"""
    download: bool = False
    """download weights by name where the cache of their hub does not have them"""
    output: Name | Annotated[int, Meta(ge=0)] | None = None
    """which of several outputs holds the logits: its name, or its number from 0; absent: the one
    with as many numbers as there are classes"""
    input: Literal["unit", "normalised", "bytes"] | None = None
    """what a network that needs no arch takes: images in [0, 1], the same less data.mean over
    data.std, or values from 0 to 255; absent: what the file says, else data.mean and data.std"""
    strict: bool = False
    """refuse to assume image size, mean and std where neither these settings nor its weights say
    them, as run --strict does"""
    epochs: Count = 20
    """passes over the training images"""
    batch_size: Annotated[int, Meta(ge=2)] = 64
    """images in a training step"""
    learning_rate: Rate = 0.1
    """peak of the schedule"""
    schedule: Literal["cosine", "linear"] = "cosine"
    """how the learning rate rises and falls"""
    weight_decay: Weight = 5e-4
    """L2 penalty of SGD"""
    augment: Literal["none", "shift", "shift-flip"] = "shift"
    """shift: each image moved at random; shift-flip: and mirrored in every second epoch, but not
    where mirrored images mean something else, as digits do"""
    label_smoothing: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.0
    """share of the label spread over all classes"""
    weight_average: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.0
    """momentum of an average of the weights; 0: none is kept"""


class Student(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network to distil into."""

    arch: Name = "resnet8"
    """as for the teacher"""
    weights: Name | None = None
    """where it starts, relative to this file or by name, but for a head of other classes; absent:
    as distill.student_start says"""
    download: bool = False
    """as for the teacher"""

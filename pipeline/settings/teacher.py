"""The tables [teacher] and [student]: the two networks."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.kinds import Count, Name, Rate, Table, Weight


class Teacher(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network to distil from."""

    arch: Annotated[
        Name,
        Meta(
            description='a name from the registry, "torchvision:NAME", "timm:NAME" or '
            '"FILE.py:FUNCTION"',
        ),
    ] = "resnet14"
    weights: Annotated[
        Name | None,
        Meta(
            description="safetensors or torch checkpoint, relative to this file; "
            "absent: the teacher is trained",
        ),
    ] = None
    epochs: Annotated[Count, Meta(description="passes over the training images")] = 40
    batch_size: Annotated[int, Meta(ge=2, description="images in a training step")] = 64
    learning_rate: Annotated[Rate, Meta(description="peak of the schedule")] = 0.1
    schedule: Annotated[
        Literal["cosine", "linear"], Meta(description="how the learning rate rises and falls")
    ] = "cosine"
    weight_decay: Annotated[Weight, Meta(description="L2 penalty of SGD")] = 5e-4
    augment: Annotated[
        Literal["none", "shift", "shift-flip"],
        Meta(
            description="each image moved at random, and mirrored in every second epoch; "
            "no flips where mirrored images mean something else, as digits do"
        ),
    ] = "shift"
    label_smoothing: Annotated[
        float, Meta(ge=0.0, lt=1.0, description="share of the label spread over all classes")
    ] = 0.0
    weight_average: Annotated[
        float,
        Meta(ge=0.0, lt=1.0, description="momentum of an average of the weights; 0: none is kept"),
    ] = 0.0


class Student(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network to distil into."""

    arch: Annotated[Name, Meta(description="as for the teacher")] = "resnet8"

"""The tables [teacher] and [student]: the two networks."""

from typing import Annotated

from msgspec import Meta

from pipeline.settings.kinds import Count, Rate, Table, Weight


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

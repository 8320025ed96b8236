"""The table [data]: labelled images."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.kinds import Count, Rate, Table

SourceName = Literal[
    "digits", "cifar10", "cifar100", "tiny-imagenet", "food101", "places365", "imagenet", "folder"
]


class Data(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Labelled images, to train the default teacher and to validate. Distill never sees them."""

    source: Annotated[
        SourceName, Meta(description="where the images come from; digits needs no files")
    ] = "digits"
    root: Annotated[
        str,
        Meta(
            description="folder with the files, relative to this file; "
            'for "folder": one sub-folder of images for each class, or train/ and val/ with them'
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
        Meta(
            gt=0.0,
            lt=1.0,
            description='share of a "folder" without train/ and val/ that is held out',
        ),
    ] = 0.3
    held_out_limit: Annotated[
        Count | None, Meta(description="validate on so many images, a fixed draw; absent: all")
    ] = None
    download: Annotated[
        bool,
        Meta(
            description="let torchvision download the set into root where it can (cifar10, "
            "cifar100, food101, places365)"
        ),
    ] = False

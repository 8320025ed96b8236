"""The table [data]."""

from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from pipeline.image_size import compact
from pipeline.preprocessing import Interpolation
from pipeline.settings.kinds import Count, Rate, SizeOfImages, Table

SourceName = Literal[
    "digits", "cifar10", "cifar100", "tiny-imagenet", "food101", "places365", "imagenet", "folder"
]


class Data(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Labelled images, to train the default teacher and to validate. Distill never sees them."""

    source: SourceName = "digits"
    """where the images come from; digits needs no files"""
    root: str = "data"
    """folder with the files, relative to this file; for "folder": one sub-folder of images for each
    class, or train/ and val/ with them"""
    labels: str = ""
    """file in root with the class of each image, a CSV or a list, where no folders say it; empty:
    looked for"""
    classes: str | tuple[str, ...] = ()
    """names of the folders in the order of the teacher's outputs, or a file with them, or
    "natural" (class2 before class10); empty: by name, as torchvision does"""
    image_size_px: SizeOfImages | None = None
    """height and width, or [height, width] where they differ; absent: the source's own"""
    resize_px: Annotated[int, Meta(ge=8, le=2048)] | None = None
    """what the shorter side is scaled to before the middle is cut out, e.g. 256 for 224: the side
    that is the smaller one of image_size_px; absent: the source's own"""
    interpolation: Interpolation | None = None
    """how images are scaled; absent: the source's own"""
    mean: tuple[float, ...] = ()
    """of each channel, images in [0, 1]; empty: the source's own (folder: ImageNet's, of three
    channels)"""
    std: tuple[Rate, ...] = ()
    """of each channel, images in [0, 1]; empty: the source's own"""
    held_out_fraction: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.3
    """share of a "folder" without train/ and val/ that is held out; 1: all, where the teacher's
    weights come from a file"""
    held_out_limit: Count | None = None
    """validate on so many images, a fixed draw; absent: all"""
    download: bool = False
    """let torchvision download the set into root where it can (cifar10, cifar100, food101,
    places365)"""

    def __post_init__(self) -> None:
        """Write an image size of two equal sides as one number, so that it has one key."""
        if self.image_size_px is not None:
            force_setattr(self, "image_size_px", compact(self.image_size_px))

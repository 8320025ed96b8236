"""The facts of each source of images that need no file: size, channels, classes.

Light: imported by declarations, so it imports nothing heavy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pipeline.image_size import ImageSize, sides_px
from pipeline.preprocessing import Interpolation, Preprocessing, size_fields
from pipeline.settings import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The images of a source. `mean` and `std` are of each channel, of images in [0, 1]."""

    channels: int
    image_size_px: ImageSize
    """One number for both sides, or height and width."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_classes: int | None = None
    """None: as many as the folder has sub-folders."""
    resize_ratio: float = 1.0
    """What the smaller side is scaled to over the side that is cut out of its middle."""
    resize_px: int | None = None
    """The same in pixels, where it was said so."""
    interpolation: Interpolation = "bilinear"
    module: str = "folder"
    """What loads it, in `stages.data`."""
    where: str = "put it there or correct the path"
    """What has to be put where, for the message when it is missing."""
    fetched: tuple[str, ...] = ()
    """Where torchvision can download it: names of which one is in the folder afterwards."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Return height and width that are cut out."""
        return sides_px(self.image_size_px)

    def preprocessing(self, classes: tuple[str, ...] = ()) -> Preprocessing:
        """Return what becomes of an image of the source before a network gets it."""
        smaller = min(self.size_px)
        resize_px = self.resize_px or int(smaller * self.resize_ratio)
        return Preprocessing(
            channels=self.channels,
            **size_fields(self.size_px),
            mean=self.mean,
            std=self.std,
            classes=classes,
            resize_px=None if resize_px == smaller else resize_px,
            interpolation=self.interpolation,
        )


_PARTS = "put images into train/CLASS/ and test/CLASS/"
_CROPPED = 256 / 224

_IMAGENET_LIKE = Spec(
    channels=3, image_size_px=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
_CIFAR10 = Spec(
    channels=3,
    image_size_px=32,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    num_classes=10,
    module="cifar",
    where="unpack the python version of cifar10 there, as cifar-10-batches-py/, or "
    f"{_PARTS}, or set data.download = true",
    fetched=("cifar-10-batches-py",),
)

SPECS: Mapping[str, Spec] = MappingProxyType(
    {
        "digits": Spec(
            channels=1,
            image_size_px=8,
            mean=(0.3053,),
            std=(0.3761,),
            num_classes=10,
            module="digits",
        ),
        "cifar10": _CIFAR10,
        "cifar100": replace(
            _CIFAR10,
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
            num_classes=100,
            where="unpack the python version of cifar100 there, as cifar-100-python/, or "
            f"{_PARTS}, or set data.download = true",
            fetched=("cifar-100-python",),
        ),
        "tiny-imagenet": Spec(
            channels=3,
            image_size_px=64,
            mean=(0.4802, 0.4481, 0.3975),
            std=(0.2770, 0.2691, 0.2821),
            num_classes=200,
            module="tinyimagenet",
            where="unpack tiny-imagenet-200.zip there (train/, val/ and words.txt); torchvision "
            "does not download it",
        ),
        "food101": replace(
            _IMAGENET_LIKE,
            num_classes=101,
            resize_ratio=_CROPPED,
            module="food101",
            where="unpack food-101.tar.gz there, as food-101/ with images/ and meta/, or "
            f"{_PARTS}, or set data.download = true (5 GB)",
            fetched=("food-101/images",),
        ),
        "places365": replace(
            _IMAGENET_LIKE,
            num_classes=365,
            resize_ratio=_CROPPED,
            module="places365",
            where="unpack Places365-Standard at 256 pixels there, as data_256_standard/ and "
            "val_256/, with categories_places365.txt and the lists places365_train_standard.txt "
            "and places365_val.txt, or put images into train/CLASS/ and val/CLASS/, or set "
            "data.download = true (25 GB)",
            fetched=("val_256",),
        ),
        "imagenet": replace(
            _IMAGENET_LIKE,
            num_classes=1000,
            resize_ratio=_CROPPED,
            module="imagenet",
            where="put the images of ILSVRC2012 into train/WNID/ and val/WNID/ there; "
            "torchvision.datasets.ImageNet unpacks the archives so; it may not be downloaded, and "
            "train/ may be left out where teacher.weights is set",
        ),
        "folder": _IMAGENET_LIKE,
    }
)

STATISTICS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = MappingProxyType(
    {name: (SPECS[name].mean, SPECS[name].std) for name in ("imagenet", "cifar10", "cifar100")}
)
"""Mean and std that options may name."""


def loader_module(source: str) -> str:
    """Return the module that loads a source; imported by name, since some are slow to import."""
    return f"stages.data.{SPECS[source].module}"


def spec_of(data: Data) -> Spec:
    """Return the spec of the images: the settings, and the source's own facts for the rest."""
    spec = SPECS[data.source]
    mean = data.mean or spec.mean
    return replace(
        spec,
        channels=len(mean),
        image_size_px=data.image_size_px or spec.image_size_px,
        mean=mean,
        std=data.std or spec.std,
        resize_px=data.resize_px,
        interpolation=data.interpolation or spec.interpolation,
    )

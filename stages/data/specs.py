"""What is known of each source of images without opening it: size, channels, classes.

Light: imported by declarations, so it imports nothing heavy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.settings import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The images of a source. `mean` and `std` are of each channel, of images in [0, 1]."""

    channels: int
    image_size_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_classes: int | None
    """None: as many as the folder has sub-folders."""


_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

SPECS: Mapping[str, Spec] = MappingProxyType(
    {
        "digits": Spec(channels=1, image_size_px=8, mean=(0.3053,), std=(0.3761,), num_classes=10),
        "cifar10": Spec(
            channels=3,
            image_size_px=32,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
            num_classes=10,
        ),
        "cifar100": Spec(
            channels=3,
            image_size_px=32,
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
            num_classes=100,
        ),
        "folder": Spec(
            channels=3,
            image_size_px=224,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            num_classes=None,
        ),
    }
)


def loader_module(source: str) -> str:
    """Return the module that loads a source; imported by name, since some are slow to import."""
    return "stages.data." + ("cifar" if source.startswith("cifar") else source)


def spec_of(data: Data) -> Spec:
    """Return what the settings say of the images, filled up with what the source is known for."""
    known = SPECS[data.source]
    mean = data.mean or known.mean
    return Spec(
        channels=len(mean),
        image_size_px=data.image_size_px or known.image_size_px,
        mean=mean,
        std=data.std or known.std,
        num_classes=known.num_classes,
    )

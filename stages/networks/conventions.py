"""What images a network takes where nobody said it: what is usual for its architecture.

Never by the number of classes: ten classes are as often flowers as they are CIFAR-10.
"""

from typing import Any, NamedTuple

from pipeline.image_size import ImageSize, compact
from pipeline.preprocessing import Interpolation
from pipeline.stage import StageError
from stages.data.datasets import STATISTICS

_RGB = 3
_SMALL_PX = 32
_GREY_SMALL_PX = 28
_HALF = 0.5


class Convention(NamedTuple):
    """The usual preprocessing of an architecture, and why it is taken for that."""

    image_size_px: ImageSize | None
    """None: there is no usual one."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize_px: int | None
    interpolation: Interpolation
    reason: str


def convention(arch: str, channels: int) -> Convention:
    """Return what is usual for an architecture by its name in `models.registry`.

    - of torchvision and timm: the transforms of the library's default weights;
    - networks for small images: 32 pixels and CIFAR-10's statistics, which most repositories of
      such networks use for CIFAR-100 and others too; grey ones 28 pixels, as MNIST;
    - a network in a file of the user's: no size, and ImageNet's statistics.

    Images that are not RGB have no usual statistics: [0, 1] becomes [-1, 1].
    """
    library, separator, name = arch.partition(":")
    if library == "torchvision":
        usual = _torchvision(name)
    elif library == "timm":
        usual = _timm(name)
    elif separator:
        reason = "ImageNet's statistics, the usual ones for RGB"
        usual = Convention(None, *STATISTICS["imagenet"], None, "bilinear", reason)
    else:
        size = _SMALL_PX if channels == _RGB else _GREY_SMALL_PX
        reason = "usual for this network, which is for small images"
        usual = Convention(size, *STATISTICS["cifar10"], None, "bilinear", reason)
    if len(usual.mean) == channels:
        return usual
    half = (_HALF,) * channels
    reason = f"{usual.reason}; [0, 1] becomes [-1, 1], as nothing is usual where it is not RGB"
    return usual._replace(mean=half, std=half, reason=reason)


def _torchvision(name: str) -> Convention:
    from torchvision import models  # noqa: PLC0415  (seconds to import)

    reason = f"the transforms of torchvision's default weights for {name}"
    try:
        transforms: Any = models.get_model_weights(name).DEFAULT.transforms()
    except (ValueError, AttributeError):
        return Convention(224, *STATISTICS["imagenet"], 256, "bilinear", "ImageNet's usual ones")
    size, resize = transforms.crop_size[0], transforms.resize_size[0]
    kind = _interpolation(transforms.interpolation.value)
    mean, std = tuple(transforms.mean), tuple(transforms.std)
    return Convention(size, mean, std, None if resize == size else resize, kind, reason)


def _timm(name: str) -> Convention:
    try:
        import timm  # noqa: PLC0415  (an optional package)

        config = timm.get_pretrained_cfg(name)
    except ImportError as error:
        raise StageError(
            "--arch", f"timm is not installed (timm:{name})", "pip install timm"
        ) from error
    except (RuntimeError, ValueError):
        config = None
    if config is None:
        return Convention(224, *STATISTICS["imagenet"], 256, "bilinear", "ImageNet's usual ones")
    size = min(config.input_size[-2:])
    resize = int(size / config.crop_pct)
    return Convention(
        compact(config.input_size[-2:]),
        tuple(config.mean),
        tuple(config.std),
        None if resize == size else resize,
        _interpolation(config.interpolation),
        f"timm's transforms for {name}",
    )


def _interpolation(name: str) -> Interpolation:
    return "bicubic" if name == "bicubic" else "bilinear"

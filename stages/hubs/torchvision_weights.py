"""torchvision's weights by name. Heavy: it imports torchvision, once for a name."""

from typing import Any

from pipeline import collector
from pipeline.errors import did_you_mean
from stages.hubs.configs import check_classes
from stages.hubs.records import Located, NamedWeights, UrlFile, fault

_TRANSFORMING = ("googlenet", "inception_v3")
"""torchvision builds them with `transform_input`, which brings ImageNet's statistics to 0.5; here
they are built without it, and images are normalised so at once."""
_HALF = 0.5


def look_up(network: str, member: str, setting: str) -> Located:
    """Return what torchvision records of a member of the weights of one of its networks.

    Args:
        network: Its name, such as resnet18.
        member: The name of the weights, such as IMAGENET1K_V1 or DEFAULT.
        setting: The setting that names them.

    Raises:
        SettingsFault: There is no such network or member, or it is no classifier of images.
    """
    with collector.paused():
        from torchvision import models  # noqa: PLC0415  (seconds to import)
        from torchvision.transforms._presets import ImageClassification  # noqa: PLC0415

    names = models.list_models()
    if network not in names:
        wrong = f"torchvision has no such network{did_you_mean(network, names)} ({network})"
        raise fault(setting, wrong, f"see {models.__name__}.list_models()")
    members: dict[str, Any] = dict(models.get_model_weights(network).__members__)
    if member not in members:
        wrong = f"{network} has no such weights{did_you_mean(member, members)} ({member})"
        raise fault(setting, wrong, f"name one of {', '.join(members) or 'none'}")
    weights = members[member]
    transforms, name = weights.transforms(), f"torchvision:{network}.{weights.name}"
    if not isinstance(transforms, ImageClassification) or "backend" in weights.meta:
        kind = "quantized" if "backend" in weights.meta else type(transforms).__name__
        wrong = f"is no classifier of images in floats ({name}: {kind})"
        raise fault(setting, wrong, "name weights of one of torchvision's image classifiers")
    classes = tuple(weights.meta.get("categories") or ())
    check_classes(len(classes), classes, name, setting)
    size, resize = transforms.crop_size[0], transforms.resize_size[0]
    mean, std = tuple(transforms.mean), tuple(transforms.std)
    if network in _TRANSFORMING:
        mean = std = (_HALF,) * len(mean)
    return Located(
        NamedWeights(
            arch=f"torchvision:{network}",
            num_classes=len(classes),
            channels=len(mean),
            image_size_px=size,
            mean=mean,
            std=std,
            resize_px=None if resize == size else resize,
            interpolation="bicubic" if transforms.interpolation.value == "bicubic" else "bilinear",
            classes=classes,
        ),
        (UrlFile(weights.url),),
    )

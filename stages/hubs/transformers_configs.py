"""The configuration files of transformers' image classifiers, as records. Light: nothing but JSON.

`config.json` says what the network is, `preprocessor_config.json` how images become its input.
"""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.preprocessing import Interpolation
from stages.hubs import advice
from stages.hubs.records import NamedWeights, checked_statistics, fault

CLASSIFIER = "ForImageClassification"
_RESAMPLE: Mapping[int, Interpolation] = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""
_UNNAMED = re.compile(r"LABEL_\d+")
_BYTES = 255
_WHOLE_PX = 384
"""From this size on ConvNeXt's images are scaled to the square that is cut out."""


def is_of_transformers(config: Mapping[str, Any]) -> bool:
    """Return whether a `config.json` is one of transformers."""
    return "architecture" not in config and ("model_type" in config or "architectures" in config)


def of_transformers(
    config: Mapping[str, Any], images: Mapping[str, Any], name: str, setting: str
) -> NamedWeights:
    """Return what the two files of a repository say.

    Args:
        config: Of the network.
        images: Of its preprocessing.
        name: The name of the weights, for messages.
        setting: The setting that holds it.

    Raises:
        SettingsFault: They are of no classifier of images, or of one that cannot be built here.
    """
    check_classifier(config, name, setting)
    try:
        height, width, resize_px, remarks = _sizes(images)
        mean, std = _statistics(images)
        count, classes = _classes(config)
        channels = int(config.get("num_channels", len(mean)))
    except (TypeError, ValueError, KeyError) as error:
        wrong = f"has a preprocessing that is not known here ({name}: {error})"
        raise fault(setting, wrong, advice.own_file(setting)) from error
    if (number := images.get("resample", 2)) not in _RESAMPLE:
        remarks.append(f"transformers scales for these weights by Pillow's filter {number}; here "
                       "it is bicubic")  # fmt: skip
    weights = NamedWeights(
        arch=f"transformers:{config['model_type']}",
        num_classes=count,
        channels=channels,
        image_size_px=height,
        width_px=None if width == height else width,
        mean=mean,
        std=std,
        resize_px=resize_px if resize_px and resize_px > min(height, width) else None,
        interpolation=_RESAMPLE.get(number, "bicubic"),
        classes=classes,
        remarks=tuple(remarks),
    )
    return checked_statistics(weights, name, setting, advice.own_file(setting))


def check_classifier(config: Mapping[str, Any], name: str, setting: str) -> None:
    """Make sure that a `config.json` is of a classifier of images that needs nothing else.

    Raises:
        SettingsFault: It is not.
    """
    kinds = config.get("architectures") or []
    kind = str(kinds[0]) if kinds else "no architectures"
    model_type = config.get("model_type")
    if not kind.endswith(CLASSIFIER) or not isinstance(model_type, str) or not model_type:
        wrong = f"is no classifier of images ({name}: {kind})"
        raise fault(setting, wrong, f"name a repository of a ...{CLASSIFIER}")
    needs = [key for key in ("auto_map", "backbone", "quantization_config") if config.get(key)]
    if config.get("problem_type") == "multi_label_classification":
        needs.append("several labels for an image")
    if needs:
        wrong = f"is a network that is not built here ({name}: {', '.join(needs)})"
        raise fault(setting, wrong, advice.own_file(setting))


def _classes(config: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """Return the number of classes, and their names where they have some."""
    labels = config.get("id2label")
    if not labels:
        return int(config.get("num_labels", 2)), ()  # transformers' own default
    classes = tuple(str(labels[str(number)]) for number in range(len(labels)))
    return len(classes), () if all(map(_UNNAMED.fullmatch, classes)) else classes


def _statistics(images: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std of images in [0, 1]."""
    factor = float(images.get("rescale_factor", 1 / _BYTES))
    if not images.get("do_rescale", True) or abs(factor * _BYTES - 1) > 1e-6:  # noqa: PLR2004
        message = f"images are not scaled to [0, 1], rescale_factor {factor:g}"
        raise ValueError(message)
    mean, std = (tuple(float(v) for v in images[f"image_{name}"]) for name in ("mean", "std"))
    if not images.get("do_normalize", True):
        return (0.0,) * len(mean), (1.0,) * len(std)
    return mean, std


def _sizes(images: Mapping[str, Any]) -> tuple[int, int, int | None, list[str]]:
    """Return height, width, what the shorter side is scaled to, and remarks."""
    height, width = _pair(images["size"])
    is_edge = not isinstance(images["size"], int) and "shortest_edge" in images["size"]
    if images.get("do_center_crop") and images.get("crop_size"):
        crop = _pair(images["crop_size"])
        squashed = [] if is_edge or isinstance(images["size"], int) else [_SQUASHED]
        return *crop, min(height, width), squashed
    if images.get("crop_pct") and height < _WHOLE_PX:
        return height, width, int(height / float(images["crop_pct"])), []
    return height, width, None, [_SQUASHED]


_SQUASHED = (
    "transformers scales both sides of an image to the size for these weights; here the shorter "
    "side is scaled and the middle cut out"
)


def _pair(size: object) -> tuple[int, int]:
    """Return height and width, of a number or of a mapping."""
    if isinstance(size, int):
        return size, size
    if not isinstance(size, dict):
        message = f"size {size}"
        raise TypeError(message)
    if "shortest_edge" in size:
        return int(size["shortest_edge"]), int(size["shortest_edge"])
    return int(size["height"]), int(size["width"])

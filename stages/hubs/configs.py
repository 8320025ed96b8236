"""The configuration files of the Hugging Face hub, as records. Light: nothing but JSON is read.

timm writes `architecture`, `num_classes`, `pretrained_cfg` and `label_names`; its first versions
wrote all of it as one mapping.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import stored_files
from pipeline.preprocessing import Interpolation
from stages.hubs.records import NamedWeights, checked_statistics, fault
from stages.hubs.transformers_configs import check_classifier, is_of_transformers, of_transformers

IMAGES = "preprocessor_config.json"
"""What transformers calls the file that says how images are read."""

_INTERPOLATIONS: Mapping[str, Interpolation] = {"bilinear": "bilinear", "bicubic": "bicubic"}
_CHANNELS_AND_SIZE = (3, 224, 224)
_CROP = 0.875
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What timm takes where a configuration leaves a value out, as in its PretrainedCfg."""
_IN_SHAPES = {"img_size", "in_chans", "num_classes"}
"""Arguments of a network that its images and classes say too."""
_INSTEAD = "name the file itself in teacher.weights, and the network in teacher.arch"


def read(path: Path, name: str, setting: str) -> NamedWeights:
    """Return what a cached `config.json` says.

    A classifier of transformers has `preprocessor_config.json` beside it.

    Args:
        path: The file.
        name: The name of the weights, for messages.
        setting: The setting that holds it.

    Raises:
        SettingsFault: It is no configuration of an image classifier that can be built here.
    """
    config = mapping(path, setting)
    if isinstance(config.get("architecture"), str):
        return _of_timm(config, name, setting)
    if is_of_transformers(config):
        check_classifier(config, name, setting)
        return of_transformers(config, mapping(path.with_name(IMAGES), setting), name, setting)
    raise fault(setting, f"has a config.json that names no architecture ({name})", _INSTEAD)


def mapping(path: Path, setting: str) -> dict[str, Any]:
    """Return the mapping in a cached file of a configuration.

    Raises:
        SettingsFault: It is not there, or holds none.
    """
    try:
        content = stored_files.loads(stored_files.read_bytes(path))
    except OSError as error:
        wrong = f"has no {path.name} ({path}: {error.strerror})"
        raise fault(setting, wrong, f"put it there; {_INSTEAD}") from error
    except ValueError as error:
        wrong = f"has a {path.name} that is no JSON ({path}: {error})"
        raise fault(setting, wrong, "remove it, and download it again") from error
    if not isinstance(content, dict):
        raise fault(setting, f"has a {path.name} that is no mapping ({path})", _INSTEAD)
    return content


def _of_timm(config: Mapping[str, Any], name: str, setting: str) -> NamedWeights:
    inner = config.get("pretrained_cfg")
    pretrained = dict(inner if isinstance(inner, dict) else config)
    for key in ("num_classes", "label_names"):
        if key in config:
            pretrained[key] = config[key]
    if inner is None and "labels" in config:
        pretrained["label_names"] = config["labels"]
    arguments = config.get("model_args") or {}
    if others := sorted(set(arguments) - _IN_SHAPES):
        raise fault(
            setting,
            f"is built with arguments that a name cannot carry ({name}: {', '.join(others)})",
            _INSTEAD.replace("teacher.arch", "teacher.arch = FILE.py:FUNCTION"),
        )
    channels, *size = pretrained.get("input_size") or _CHANNELS_AND_SIZE
    edge = arguments.get("img_size")
    size = (edge if isinstance(edge, list) else [edge, edge]) if edge else size
    pretrained["input_size"] = (arguments.get("in_chans", channels), *size)
    return of_pretrained_cfg(config["architecture"], pretrained, name, setting)


def of_pretrained_cfg(
    architecture: str, config: Mapping[str, Any], name: str, setting: str
) -> NamedWeights:
    """Return what timm's `pretrained_cfg` of an architecture says.

    timm scales the shorter side to `floor(size / crop_pct)` and cuts out the middle
    (`timm.data.transforms_factory`, crop mode "center").

    Raises:
        SettingsFault: It is of no classifier, or contradicts itself.
    """
    try:
        channels, height, width = (int(n) for n in config.get("input_size") or _CHANNELS_AND_SIZE)
        count = int(config.get("num_classes", 1000))
        mean, std = (
            tuple(float(value) for value in config.get(key) or usual)
            for key, usual in zip(("mean", "std"), _IMAGENET, strict=True)
        )
        resize_px = math.floor(min(height, width) / float(config.get("crop_pct") or _CROP))
        classes = _labels(config.get("label_names"))
    except (TypeError, ValueError) as error:
        wrong = f"has a configuration with a value of another kind ({name}: {error})"
        raise fault(setting, wrong, _INSTEAD) from error
    check_classes(count, classes, name, setting)
    weights = NamedWeights(
        arch=f"timm:{architecture.partition('.')[0]}",
        num_classes=count,
        channels=channels,
        image_size_px=height,
        width_px=None if width == height else width,
        mean=mean,
        std=std,
        resize_px=None if resize_px <= min(height, width) else resize_px,
        interpolation=_INTERPOLATIONS.get(str(config.get("interpolation")), "bicubic"),
        classes=classes,
        remarks=tuple(_remarks(config)),
    )
    return checked_statistics(weights, name, setting, _INSTEAD)


def check_classes(count: int, classes: tuple[str, ...], name: str, setting: str) -> None:
    """Make sure that there are classes, and as many names of them as outputs.

    Raises:
        SettingsFault: There are not.
    """
    if count < 1:
        raise fault(
            setting,
            f"gives features and no classes ({name}: num_classes {count})",
            "name weights of a classifier",
        )
    if classes and len(classes) != count:
        raise fault(
            setting,
            f"names {len(classes)} classes for {count} outputs ({name})",
            "correct label_names in its config.json, or take them out",
        )


def _labels(labels: object) -> tuple[str, ...]:
    """Return the names of classes, of a list or of a mapping from numbers."""
    if isinstance(labels, dict):
        labels = [labels[str(number)] for number in range(len(labels)) if str(number) in labels]
    if not labels:
        return ()
    if not isinstance(labels, list | tuple) or not all(isinstance(text, str) for text in labels):
        message = "label_names is no list of texts"
        raise ValueError(message)
    return tuple(labels)


def _remarks(config: Mapping[str, Any]) -> list[str]:
    remarks = []
    if (mode := config.get("crop_mode", "center")) != "center":
        remarks.append(
            f"timm validates these weights with crop mode {mode}; here the shorter side is scaled "
            "and the middle cut out"
        )
    kind = config.get("interpolation", "bicubic")
    if kind not in _INTERPOLATIONS:
        remarks.append(f"timm validates these weights with {kind} scaling; here it is bicubic")
    return remarks

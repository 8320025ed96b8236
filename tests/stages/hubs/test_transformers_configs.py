"""What the two files of a classifier of transformers say, and which are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SettingsFault
from stages.hubs import configs
from stages.hubs.records import NamedWeights

CONFIG: dict[str, Any] = {
    "architectures": ["ResNetForImageClassification"],
    "model_type": "resnet",
    "num_channels": 3,
    "id2label": {"0": "ant", "1": "bee"},
}
IMAGES: dict[str, Any] = {
    "do_normalize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.25, 0.3],
    "resample": 2,
    "size": {"shortest_edge": 40},
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
}


def _read(
    tmp_path: Path, config: dict[str, Any] | None = None, images: dict[str, Any] | None = None
) -> NamedWeights:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG | (config or {})), encoding="utf-8")
    path.with_name(configs.IMAGES).write_text(json.dumps(IMAGES | (images or {})), encoding="utf-8")
    return configs.read(path, "hf:o/net", "teacher.weights")


def test_both_files_are_read_along(tmp_path: Path) -> None:
    assert _read(tmp_path) == NamedWeights(
        arch="transformers:resnet",
        num_classes=2,
        channels=3,
        image_size_px=32,
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3),
        resize_px=40,
        classes=("ant", "bee"),
    )


@pytest.mark.parametrize(
    ("images", "size_px", "resize_px", "remarks"),
    [
        ({"size": 40}, 32, 40, 0),
        ({"size": {"height": 40, "width": 40}}, 32, 40, 1),
        ({"do_center_crop": False, "size": {"height": 32, "width": 32}}, 32, None, 1),
        ({"do_center_crop": False, "size": {"shortest_edge": 224}, "crop_pct": 0.875}, 224, 256, 0),
        (
            {"do_center_crop": False, "size": {"shortest_edge": 384}, "crop_pct": 0.875},
            384,
            None,
            1,
        ),
        ({"resample": 0}, 32, 40, 1),
    ],
)
def test_sizes_have_many_forms(
    images: dict[str, Any], size_px: int, resize_px: int | None, remarks: int, tmp_path: Path
) -> None:
    weights = _read(tmp_path, images=images)
    assert (weights.image_size_px, weights.resize_px) == (size_px, resize_px)
    assert len(weights.remarks) == remarks


def test_images_that_are_not_normalised_stay_between_0_and_1(tmp_path: Path) -> None:
    weights = _read(tmp_path, images={"do_normalize": False})
    assert (weights.mean, weights.std) == ((0.0,) * 3, (1.0,) * 3)


def test_labels_that_name_nothing_are_no_names(tmp_path: Path) -> None:
    weights = _read(tmp_path, {"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}})
    assert (weights.num_classes, weights.classes) == (3, ())


@pytest.mark.parametrize(
    ("config", "images", "text"),
    [
        ({"architectures": ["BertForMaskedLM"]}, {}, r"no classifier of images .*BertForMaskedLM"),
        ({"auto_map": {"AutoModel": "own.Net"}}, {}, r"not built here .*auto_map"),
        ({"problem_type": "multi_label_classification"}, {}, "several labels for an image"),
        ({"id2label": {"0": "a", "2": "b"}}, {}, "not known here"),
        ({"num_channels": 1}, {}, "a mean and std for other images"),
        ({}, {"rescale_factor": 1 / 127.5}, r"not scaled to \[0, 1\]"),
        ({}, {"size": None}, "not known here"),
    ],
)
def test_what_cannot_be_built_or_read_so_is_refused(
    config: dict[str, Any], images: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsFault, match=text):
        _read(tmp_path, config, images)


def test_without_its_preprocessing_nobody_knows_what_it_takes(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    with pytest.raises(SettingsFault, match=r"has no preprocessor_config\.json"):
        configs.read(path, "hf:o/net", "teacher.weights")

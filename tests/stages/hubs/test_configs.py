"""What a config.json says, and which are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SettingsFault
from stages.hubs import configs
from stages.hubs.records import NamedWeights
from tests.stages.hubs.local_hub import CONFIG, config


def _read(tmp_path: Path, content: bytes) -> NamedWeights:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    return configs.read(path, "hf:owner/net", "teacher.weights")


EXPECTED = NamedWeights(
    arch="timm:test_resnet",
    num_classes=4,
    channels=3,
    image_size_px=32,
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.25, 0.3),
    resize_px=40,
    interpolation="bilinear",
    classes=("ant", "bee", "cat", "dog"),
)


def test_a_config_of_timm_is_read_along(tmp_path: Path) -> None:
    assert _read(tmp_path, config()) == EXPECTED


def test_a_config_of_timm_s_first_versions_is_one_mapping(tmp_path: Path) -> None:
    flat = {"architecture": "test_resnet", "num_classes": 4, "labels": list(EXPECTED.classes)}
    assert _read(tmp_path, json.dumps(CONFIG["pretrained_cfg"] | flat).encode()) == EXPECTED


def test_labels_may_be_numbered(tmp_path: Path) -> None:
    numbered = {str(number): name for number, name in enumerate(EXPECTED.classes)}
    assert _read(tmp_path, config(label_names=numbered)) == EXPECTED


def test_sizes_in_the_arguments_of_the_network_come_first(tmp_path: Path) -> None:
    weights = _read(tmp_path, config(model_args={"img_size": 64, "in_chans": 3}))
    assert (weights.image_size_px, weights.resize_px) == (64, 80)


def test_height_and_width_may_differ(tmp_path: Path) -> None:
    weights = _read(tmp_path, config(model_args={"img_size": [64, 48]}))
    assert (weights.image_size_px, weights.width_px, weights.resize_px) == (64, 48, 60)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"no json", r"has a config.json that is no JSON"),
        (b"[]", r"has a config.json that is no mapping"),
        (b"{}", r"names no architecture \(hf:owner/net\)"),
        (config(label_names=["ant", "bee"]), r"names 2 classes for 4 outputs"),
        (config(label_names="ant"), "label_names is no list of texts"),
        (config(num_classes=0, label_names=None), r"gives features and no classes"),
        (config(num_classes="many"), "a value of another kind"),
        (config(model_args={"act_layer": "gelu"}), r"arguments .*act_layer"),
        (config(model_args={"in_chans": 1}), r"a mean and std for other images .*3 and 3 numbers"),
    ],
)
def test_a_config_that_does_not_describe_a_classifier_is_refused(
    content: bytes, text: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsFault, match=text) as caught:
        _read(tmp_path, content)
    ((key, _, remedy),) = caught.value.faults
    assert key == ("teacher", "weights")
    assert remedy


def _of(**changes: Any) -> NamedWeights:
    fields = {**CONFIG["pretrained_cfg"], "num_classes": 4, **changes}
    return configs.of_pretrained_cfg("test_resnet", fields, "timm:x", "teacher.weights")


def test_what_is_done_in_another_way_is_a_remark() -> None:
    assert _of().remarks == ()
    assert "crop mode border" in _of(crop_mode="border").remarks[0]
    assert "lanczos" in _of(interpolation="lanczos").remarks[0]


def test_an_image_is_not_scaled_to_less_than_is_cut_out() -> None:
    assert _of(crop_pct=1.0).resize_px is None
    assert _of(crop_pct=1.2).resize_px is None

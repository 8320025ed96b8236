"""The whole chain on images whose sides differ, and on images of many channels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.networks import card as cards
from stages.onnxgraph import io as onnx_io
from stages.packaging import contents
from tests.stages import tiny

SHORT: tiny.Values = {
    "distill": {"rounds": 4, "batch_size": 16, "augment": "shift-flip"},
    "build": {"backend": "onnxruntime", "precision": "fp32"},
    "validate": {"batch_sizes": [1], "pairs": 20, "warmup_s": 0.01},
}
SIZE_PX = (12, 20)


def _with(values: tiny.Values) -> tiny.Values:
    return {**SHORT, **values}


def _folder(root: Path, channels: int) -> None:
    """Write images of classes that differ in brightness, pictures or arrays by their channels."""
    rng = np.random.default_rng(0)
    for level, name in ((40, "dark"), (128, "grey"), (220, "light")):
        (root / name).mkdir(parents=True)
        for number in range(12):
            noise_HWC = rng.integers(-30, 31, (26, 44, channels))
            x_HWC = (level + noise_HWC).clip(0, 255).astype(np.uint8)
            if channels == 3:
                Image.fromarray(x_HWC).save(root / name / f"{number}.png")
            else:
                np.save(root / name / f"{number}.npy", x_HWC)


@pytest.mark.parametrize("channels", [3, 2])
def test_every_stage_takes_images_whose_sides_differ(tmp_path: Path, channels: int) -> None:
    _folder(tmp_path / "images", channels)
    data = {
        "source": "folder",
        "root": "images",
        "image_size_px": SIZE_PX,
        "resize_px": 13,
        "mean": [0.5] * channels,
        "std": [0.25] * channels,
    }
    run = tiny.run_stages(tiny.settings(_with({"data": data})), tmp_path)
    card = cards.read(run.path("distill/student"))
    assert card is not None
    assert (card.channels, card.size_px, card.resize_px) == (channels, SIZE_PX, 13)
    with np.load(run.path("distill/bank")) as bank:
        assert bank["x"].shape[1:] == (*SIZE_PX, channels)
    assert onnx_io.image_shape(onnx_io.read(run.path("export/onnx"), "here")) == (
        channels,
        *SIZE_PX,
    )
    engine = run.path("build/engine").parent
    _, files = contents.collect(engine, place="here", name="net", report=None)
    assert f"dims: [{channels}, 12, 20]".encode() in files["triton/net/config.pbtxt"]
    assert b"scaled to cover 13 x 21 (bilinear), and the middle cut out" in files["README.md"]


def test_a_teacher_of_five_channels_needs_no_labelled_images(tmp_path: Path) -> None:
    fives = (0.5,) * 5
    tiny.weights_file(
        tmp_path / "t.safetensors", channels=5, image_size_px=9, width_px=17, mean=fives, std=fives
    )
    values = {
        "teacher": {"arch": "resnet8", "weights": "t.safetensors"},
        "validate": {"images": "bank"},
    }
    run = tiny.run_stages(tiny.settings(_with(values)), tmp_path)
    assert onnx_io.image_shape(onnx_io.read(run.path("export/onnx"), "here")) == (5, 9, 17)
    assert run.metrics("validate")["engine_bank_agreement"] >= 0

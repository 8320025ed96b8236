"""Labelled images: loaded, limited, checked, and downloaded where the settings ask for it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import datasets

from pipeline.errors import StageError
from pipeline.settings import Data, Settings, SourceName
from stages.data import images
from stages.data.files import ImageFiles
from tests.stages.data.trees import put

CPU = torch.device("cpu")
META = torch.device("meta")
"""Has neither memory nor kernels, but it is another device."""


def test_both_parts_and_what_is_known_of_them_are_loaded() -> None:
    dataset = images.load(Data(), None)
    assert dataset.train.x_NCHW.shape == (1257, 1, 8, 8)
    assert dataset.held_out.x_NCHW.shape == (540, 1, 8, 8)
    assert dataset.train.x_NCHW.dtype == torch.uint8
    assert dataset.held_out.y_N.dtype == torch.int64
    assert dataset.train.classes == dataset.held_out.classes


@pytest.mark.parametrize("indices", [slice(3, 6), torch.tensor([3, 4, 5])])
def test_a_batch_is_of_floats_from_0_to_1_laid_out_channels_last(
    indices: slice | torch.Tensor,
) -> None:
    train = images.load(Data(), None).train
    x_BCHW = train.batch(indices, CPU)
    assert x_BCHW.shape == (3, 1, 8, 8)
    assert x_BCHW.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x_BCHW * 255, train.x_NCHW[3:6].float())


class _Moves(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the type of all that is brought to another device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtypes: list[torch.dtype] = []

    def __torch_dispatch__(
        self, func: Any, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if "copy" in str(func) and result.device != args[0].device:
            self.dtypes.append(args[0].dtype)
        return result


def test_bytes_and_not_floats_are_brought_to_a_device() -> None:
    held_out = images.load(Data(), None).held_out
    with _Moves() as moves:
        assert held_out.batch(slice(0, 4), META).dtype == torch.float32
    assert moves.dtypes == [torch.uint8]


def test_images_on_a_device_are_brought_there_once() -> None:
    held_out = images.load(Data(), None).held_out.to(META)
    assert held_out.y_N.device == META
    with _Moves() as moves:
        assert held_out.batch(torch.tensor([3, 1], device=META), META).shape == (2, 1, 8, 8)
    assert not moves.dtypes


def test_training_images_in_files_are_read_when_they_are_used(tmp_path: Path) -> None:
    put(tmp_path, [f"{part}/{name}/1.jpg" for part in ("train", "val") for name in "ab"])
    (tmp_path / "train/a/1.jpg").write_bytes(b"no image")
    dataset = images.load(Data(source="folder", image_size_px=8), tmp_path)
    assert dataset.held_out.x_NCHW.shape == dataset.train.x_NCHW.shape
    with pytest.raises(StageError, match="1 files are no readable images"):
        dataset.train.to(CPU)


@pytest.mark.parametrize(
    "data",
    [Data(image_size_px=16), Data(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))],
    ids=["size", "channels"],
)
def test_settings_that_the_images_do_not_fit_are_refused_with_both_shapes(data: Data) -> None:
    with pytest.raises(StageError, match=r"images are \(8, 8, 1\), the settings say \("):
        images.load(data, None)


def test_a_source_too_big_for_memory_stays_in_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, [f"{name}/{number}.jpg" for name in "ab" for number in range(4)])
    data = Data(source="folder", image_size_px=8, held_out_fraction=0.5)
    loaded = images.load(data, tmp_path)
    monkeypatch.setattr(images, "_MEMORY_BYTES", 100)
    lazy = images.load(data, tmp_path)
    assert isinstance(loaded.held_out.x_NCHW, torch.Tensor)
    assert isinstance(lazy.held_out.x_NCHW, ImageFiles)
    assert isinstance(lazy.train.to(CPU).x_NCHW, ImageFiles)
    assert torch.equal(lazy.held_out.y_N, loaded.held_out.y_N)
    for indices in (slice(1, 3), torch.tensor([3, 0])):
        assert torch.equal(lazy.train.batch(indices, CPU), loaded.train.batch(indices, CPU))


def test_images_that_are_nearly_black_and_classes_that_look_alike_are_noted(tmp_path: Path) -> None:
    values_HW = np.tile(np.arange(0, 4096, 256, dtype=np.uint16), (16, 1))
    for name in ("Cat", "cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(values_HW).save(tmp_path / name / f"{number}.png")
    black, alike = images.load(Data(source="folder", image_size_px=8), tmp_path).notes
    assert black.startswith("no pixel of the held-out images is above 14 of 255")
    assert "('Cat' and 'cat')" in alike


def test_a_limit_above_the_number_of_images_keeps_all() -> None:
    assert len(images.load(Data(held_out_limit=541), None).held_out.y_N) == 540
    assert len(images.load(Data(held_out_limit=100), None).held_out.y_N) == 100


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "no held-out images"),
        ([1, 1, 1], "all 3 held-out images are of one class"),
        ([0, 3], r"outside the 3 classes \(3\)"),
        ([0, -1], r"outside the 3 classes \(-1\)"),
    ],
)
def test_labels_on_which_no_accuracy_means_anything_are_refused(
    labels: list[int], message: str
) -> None:
    with pytest.raises(StageError, match=message):
        images.check_labels(np.array(labels, dtype=np.int64), 3)


def _settings(source: SourceName) -> Settings:
    return Settings(data=Data(source=source, download=True))


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("cifar10", "CIFAR10"),
        ("cifar100", "CIFAR100"),
        ("food101", "Food101"),
        ("places365", "Places365"),
    ],
)
def test_torchvision_downloads_the_set(
    tmp_path: Path, source: SourceName, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(datasets, kind, lambda *args, **named: calls.append((*args, named)))
    images.download(_settings(source), tmp_path / "data")
    assert (tmp_path / "data").is_dir()
    assert all(call[0] == tmp_path / "data" for call in calls)
    assert all(isinstance(call[-1], dict) and call[-1]["download"] for call in calls)
    assert len(calls) == (2 if source == "places365" else 1)


def test_a_download_that_fails_says_what_to_do_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_named: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "CIFAR10", fail)
    with pytest.raises(StageError, match=r"data\.download: cifar10 .*no route.*cifar-10-batches"):
        images.download(_settings("cifar10"), tmp_path)


@pytest.mark.parametrize("source", ["imagenet", "tiny-imagenet"])
def test_a_set_that_torchvision_does_not_have_is_refused(
    tmp_path: Path, source: SourceName
) -> None:
    with pytest.raises(StageError, match=rf"torchvision has no {source}"):
        images.download(_settings(source), tmp_path)

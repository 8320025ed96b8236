"""Labelled images in memory."""

from pathlib import Path

import pytest
import torch

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import images
from stages.data.files import Files
from tests.stages.data.trees import put

CPU = torch.device("cpu")


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
    held = images.load(data, tmp_path)
    monkeypatch.setattr(images, "_MEMORY_BYTES", 100)
    lazy = images.load(data, tmp_path)
    assert isinstance(held.train.x_NCHW, torch.Tensor)
    assert isinstance(lazy.train.x_NCHW, Files)
    assert torch.equal(lazy.held_out.y_N, held.held_out.y_N)
    for indices in (slice(1, 3), torch.tensor([3, 0])):
        assert torch.equal(lazy.train.batch(indices, CPU), held.train.batch(indices, CPU))


def test_a_limit_above_the_number_of_images_keeps_all() -> None:
    assert len(images.load(Data(held_out_limit=541), None).held_out.y_N) == 540
    assert len(images.load(Data(held_out_limit=100), None).held_out.y_N) == 100

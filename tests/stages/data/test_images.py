"""Labelled images in memory."""

import pytest
import torch

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import images

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

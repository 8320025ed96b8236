"""Images that are not those of the teacher are refused; sets of images have identities."""

import pytest
import torch

from pipeline.errors import StageError
from stages.data.images import Images
from stages.validate.images import check_images, identity
from tests.stages.tiny import card

TEN = tuple(str(digit) for digit in range(10))


def _images(channels: int = 1, size: int = 8, n: int = 4) -> Images:
    x_NCHW = torch.arange(n * channels * size * size).reshape(n, channels, size, size) % 251
    return Images(x_NCHW.to(torch.uint8), torch.arange(n), TEN)


def test_images_of_the_teacher_pass() -> None:
    check_images(_images(), card())


@pytest.mark.parametrize(("channels", "size"), [(3, 8), (1, 16)])
def test_another_channel_count_or_size_is_refused(channels: int, size: int) -> None:
    with pytest.raises(StageError, match=rf"images are {channels}x{size}x{size}, .* takes 1x8x8"):
        check_images(_images(channels, size), card())


def test_the_identity_follows_images_and_labels() -> None:
    plain = _images()
    other = _images()
    other.x_NCHW[:][0, 0, 0, 0] = 99
    relabelled = Images(plain.x_NCHW, plain.y_N.flip(0), TEN)
    assert identity(plain) == identity(_images())
    assert len({identity(images) for images in (plain, other, relabelled)}) == 3

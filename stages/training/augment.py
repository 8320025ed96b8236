"""Random shifts and mirror images, another for each image, in one gather.

Shape legend: B batch, N images, C channel, H W space.
"""

import torch
from torch import Tensor
from torch.nn import functional

_SHIFT_SHARE = 8


def crop_offsets(count: int, image_size_px: int, rng: torch.Generator) -> Tensor:
    """Return where the crops of `count` padded images begin, of shape 2B: top and left in px."""
    largest = 2 * _padding_px(image_size_px)
    return torch.randint(0, largest + 1, (2, count), generator=rng, device=rng.device)


def random_shift(x_BCHW: Tensor, offsets_2B: Tensor, flipped_B: Tensor | None = None) -> Tensor:
    """Return the images, each moved by its own offset of at most an eighth of its side.

    What comes in from outside is black: the crop of a padded image (He et al. 2016, section
    4.2).

    Args:
        x_BCHW: Square images.
        offsets_2B: Where their crops begin, from `crop_offsets`.
        flipped_B: Which of them to mirror left to right; None for none.
    """
    count, _, _, size = x_BCHW.shape
    pixels = torch.arange(size, device=offsets_2B.device)
    rows_BH = offsets_2B[0, :, None] + pixels
    columns_BW = offsets_2B[1, :, None] + pixels
    if flipped_B is not None:
        columns_BW = torch.where(flipped_B[:, None], columns_BW.flip(1), columns_BW)
    padded_BCHW = functional.pad(x_BCHW, (_padding_px(size),) * 4)
    device = x_BCHW.device
    crops_BHWC = padded_BCHW.permute(0, 2, 3, 1)[
        torch.arange(count, device=device)[:, None, None],
        rows_BH.to(device)[:, :, None],
        columns_BW.to(device)[:, None, :],
    ]
    return crops_BHWC.permute(0, 3, 1, 2)


def _padding_px(image_size_px: int) -> int:
    return max(1, image_size_px // _SHIFT_SHARE)


def alternating_flip(flip_start_N: Tensor, indices_B: Tensor, epoch: int) -> Tensor:
    """Return which images of a batch are mirrored in an epoch: every one in every second epoch.

    `flip_start_N` has those of epoch 0. In any two epochs the network sees both sides of all
    images, which independent flips do not give (the alternating flip of K. Jordan's
    cifar10-airbench, 2024).
    """
    return flip_start_N[indices_B] ^ bool(epoch % 2)

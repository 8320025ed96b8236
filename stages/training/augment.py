"""Random shifts, mirror images and colours, others for each image.

Shape legend: B batch, N images, A amounts, C channel, H W space.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.image_size import ImageSize, sides_px

_SHIFT_SHARE = 8
_BRIGHTNESS = 0.5
_BALANCE = 0.3


def crop_offsets(count: int, image_size_px: ImageSize, rng: torch.Generator) -> Tensor:
    """Return where the crops of `count` padded images begin, of shape 2B: top and left in px."""
    top, left = (2 * _padding_px(side) + 1 for side in sides_px(image_size_px))
    if top == left:  # one draw for both
        return torch.randint(0, top, (2, count), generator=rng, device=rng.device)
    ends = [
        torch.randint(0, end, (count,), generator=rng, device=rng.device) for end in (top, left)
    ]
    return torch.stack(ends)


def random_shift(x_BCHW: Tensor, offsets_2B: Tensor, flipped_B: Tensor | None = None) -> Tensor:
    """Return the images, each moved by its own offset of at most an eighth of its sides.

    What comes in from outside is black: the crop of a padded image (He et al. 2016, section
    4.2).

    Args:
        x_BCHW: Images.
        offsets_2B: Where their crops begin, from `crop_offsets`.
        flipped_B: Which of them to mirror left to right; None for none.
    """
    count, _, height, width = x_BCHW.shape
    pixels = torch.arange(max(height, width), device=offsets_2B.device)
    rows_BH = offsets_2B[0, :, None] + pixels[:height]
    columns_BW = offsets_2B[1, :, None] + pixels[:width]
    if flipped_B is not None:
        columns_BW = torch.where(flipped_B[:, None], columns_BW.flip(1), columns_BW)
    above, beside = _padding_px(height), _padding_px(width)
    padded_BCHW = functional.pad(x_BCHW, (beside, beside, above, above))
    device = x_BCHW.device
    crops_BHWC = padded_BCHW.permute(0, 2, 3, 1)[
        torch.arange(count, device=device)[:, None, None],
        rows_BH.to(device)[:, :, None],
        columns_BW.to(device)[:, None, :],
    ]
    return crops_BHWC.permute(0, 3, 1, 2)


def jitter_colours(x_BCHW: Tensor, amounts_BA: Tensor, strength: float) -> Tensor:
    """Return the images with changed contrast, brightness and balance of channels, within [0, 1].

    The contrast around an image's own mean changes by a factor of 1 - strength to 1 + strength,
    its brightness by up to strength / 2 and that of each channel by up to 0.3 strength more.

    Args:
        x_BCHW: Images with values in [0, 1].
        amounts_BA: In [-1, 1), of the contrast, of the brightness, of each channel.
        strength: From 0, which leaves images as they are, to 1.
    """
    amounts_BA11 = strength * amounts_BA[:, :, None, None]
    contrast_B111, brightness_B111, channels_BC11 = (
        amounts_BA11[:, :1],
        amounts_BA11[:, 1:2],
        amounts_BA11[:, 2:],
    )
    mean_B111 = x_BCHW.mean(dim=(1, 2, 3), keepdim=True)
    added_BC11 = mean_B111 + _BRIGHTNESS * brightness_B111 + _BALANCE * channels_BC11
    return ((x_BCHW - mean_B111) * (1 + contrast_B111) + added_BC11).clamp(0, 1)


def _padding_px(side_px: int) -> int:
    return max(1, side_px // _SHIFT_SHARE)


def alternating_flip(flip_start_N: Tensor, indices_B: Tensor, epoch: int) -> Tensor:
    """Return which images of a batch are mirrored in an epoch: every one in every second epoch.

    `flip_start_N` has those of epoch 0. In any two epochs the network sees both sides of all
    images, which independent flips do not give (the alternating flip of K. Jordan's
    cifar10-airbench, 2024).
    """
    return flip_start_N[indices_B] ^ bool(epoch % 2)

"""Random shifts and mirror images, another for each image, in one gather.

Shape legend: B batch, N images, C channel, H W space.
"""

import torch
from torch import Tensor
from torch.nn import functional

_SHIFT_SHARE = 8


def steps(count: int, image_size_px: int, rng: torch.Generator) -> Tensor:
    """Return random places, of shape 2B, to begin the crop of padded images at: top and left."""
    most = _padding(image_size_px)
    return torch.randint(0, 2 * most + 1, (2, count), generator=rng, device=rng.device)


def shifted(x_BCHW: Tensor, steps_2B: Tensor, mirrored_B: Tensor | None = None) -> Tensor:
    """Return the images, each moved by its own step of at most an eighth of its side.

    What comes in from outside is black: the crop of a padded image (He et al. 2016, section
    4.2).

    Args:
        x_BCHW: Square images.
        steps_2B: Where their crops begin, from `steps`.
        mirrored_B: Which of them to mirror left to right; None for none.
    """
    count, _, _, size = x_BCHW.shape
    across = torch.arange(size, device=steps_2B.device)
    rows_BH = steps_2B[0, :, None] + across
    columns_BW = steps_2B[1, :, None] + across
    if mirrored_B is not None:
        columns_BW = torch.where(mirrored_B[:, None], columns_BW.flip(1), columns_BW)
    padded_BCHW = functional.pad(x_BCHW, (_padding(size),) * 4)
    device = x_BCHW.device
    chosen_BHWC = padded_BCHW.permute(0, 2, 3, 1)[
        torch.arange(count, device=device)[:, None, None],
        rows_BH.to(device)[:, :, None],
        columns_BW.to(device)[:, None, :],
    ]
    return chosen_BHWC.permute(0, 3, 1, 2)


def _padding(image_size_px: int) -> int:
    return max(1, image_size_px // _SHIFT_SHARE)


def mirrored(coins_N: Tensor, indices_B: Tensor, epoch: int) -> Tensor:
    """Tell which images of a batch are mirrored in an epoch: each in every second one.

    So in any two epochs the network sees both sides of all images, which plain chance does not
    give (the alternating flip of K. Jordan's cifar10-airbench, 2024).

    Args:
        coins_N: Of each image, whether it begins mirrored; drawn once.
        indices_B: The images of the batch.
        epoch: Counted from 0.
    """
    return coins_N[indices_B] ^ bool(epoch % 2)

"""Random shifts and mirror images, another for each image, in one gather.

Shape legend: B batch, N images, C channel, H W space.
"""

import torch
from torch import Tensor
from torch.nn import functional

_SHIFT_SHARE = 8


def shifted(x_BCHW: Tensor, mirrored_B: Tensor | None, rng: torch.Generator) -> Tensor:
    """Return the images, each moved by its own random step of at most an eighth of its side.

    What comes in from outside is black: the crop of a padded image (He et al. 2016, section
    4.2).

    Args:
        x_BCHW: Square images.
        mirrored_B: Which of them to mirror left to right; None for none.
        rng: On the CPU, so that the steps are the same on every device.
    """
    count, _, _, size = x_BCHW.shape
    most = max(1, size // _SHIFT_SHARE)
    steps_2B = torch.randint(0, 2 * most + 1, (2, count), generator=rng)
    across = torch.arange(size)
    rows_BH = steps_2B[0, :, None] + across
    columns_BW = steps_2B[1, :, None] + across
    if mirrored_B is not None:
        columns_BW = torch.where(mirrored_B[:, None], columns_BW.flip(1), columns_BW)
    padded_BCHW = functional.pad(x_BCHW, (most,) * 4)
    device = x_BCHW.device
    chosen_BHWC = padded_BCHW.permute(0, 2, 3, 1)[
        torch.arange(count, device=device)[:, None, None],
        rows_BH.to(device)[:, :, None],
        columns_BW.to(device)[:, None, :],
    ]
    return chosen_BHWC.permute(0, 3, 1, 2)


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

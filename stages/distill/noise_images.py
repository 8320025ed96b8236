"""Images of structured noise: no data, but nearer to data than what a generator begins with.

Baradad et al. 2021, "Learning to See by Looking at Noise", learn features from images of simple
random processes, and find that structure and diversity count, not realism. Here it is noise whose
amplitude falls with frequency, as that of natural images does by about 1 / f (Field 1987), in two
kinds: clouds, the noise itself with more or less contrast, and lines, where it crosses its mean.
Mean and spread of each channel are those that the teacher normalises by. Kinds and ranges are
madpipe's own.

Shape legend: B batch, A amounts, C channel, H W space.
"""

from functools import cached_property

import torch
from torch import Tensor

from models.classifier import Classifier
from stages.distill.distributed.group import Group

_EXPONENT = (0.5, 3.0)
"""Of 1 / f, least and most: from fine grain to a smooth slope."""
_CONTRAST = (1.0, 4.0)
"""Factor on the spread of clouds before they are cut to [0, 1]."""
_SHARPNESS = (1.0, 4.0)
"""How quickly lines fall off, in standard deviations of the noise."""
_LINE_CONTRAST = (1.0, 2.0)
MIDDLE, SPREAD = 0.5, 0.25
"""Mean and std of images where the teacher does not say them."""
_AMOUNTS = 5
_LEAST = 1e-12


_MOST_VALUES = 2**24
"""Of white noise that is filtered at a time: four spectra of it are half a gigabyte."""


def has_statistics(teacher: Classifier) -> bool:
    """Return whether a teacher says what mean and std images have; not where it takes [0, 1]."""
    return bool(teacher.mean_1C11.any())


class NoiseImages:
    """Seeded images of structured noise; every process samples those of all, keeps its share."""

    def __init__(
        self,
        rng: torch.Generator,
        teacher: Classifier,
        size_px: tuple[int, int],
        group: Group | None = None,
    ) -> None:
        """Sample with `rng` images of a teacher's mean and std, of so many rows and columns."""
        self.rng = rng
        self._mean_1C11, self._std_1C11 = teacher.mean_1C11, teacher.std_1C11
        if not has_statistics(teacher):
            self._mean_1C11 = torch.full_like(self._mean_1C11, MIDDLE)
            self._std_1C11 = torch.full_like(self._std_1C11, SPREAD)
        self._size_px = size_px
        self._group = group or Group()

    @cached_property
    def _f_HW(self) -> Tensor:  # noqa: N802  (a shape suffix)
        height, width = self._size_px
        # Twice the size, from which a part is cut: the whole repeats itself at its edges.
        return frequencies(2 * height, 2 * width).to(self.rng.device)

    def sample(self, count: int) -> Tensor:
        """Return `count` images of shape BCHW for this process, with values in [0, 1]."""
        total, first = count, 0
        if self._group.is_distributed:
            total, first = count * self._group.size, self._group.rank * count
        channels, (height, width) = self._mean_1C11.shape[1], self._size_px
        shape = (total, channels + 1, 2 * height, 2 * width)
        device = self.rng.device
        white_BCHW = torch.randn(shape, generator=self.rng, device=device)
        amounts_BA = torch.rand((total, _AMOUNTS), generator=self.rng, device=device)
        share = slice(first, first + count)
        images = max(1, _MOST_VALUES // white_BCHW[0].numel())
        whites = torch.split(white_BCHW[share], images)
        parts = zip(whites, torch.split(amounts_BA[share], images), strict=True)
        noise_BCHW = torch.cat([structured(*part, self._f_HW) for part in parts])
        x_BCHW: Tensor = self._mean_1C11 + self._std_1C11 * noise_BCHW
        return x_BCHW.clamp(0, 1)


def structured(white_BCHW: Tensor, amounts_BA: Tensor, f_HW: Tensor) -> Tensor:
    """Return clouds and lines of half the height and width, and a channel less; mean 0.

    Args:
        white_BCHW: White noise; its last channel is what all others have in common.
        amounts_BA: In [0, 1), five for an image: the exponent, what channels have in common,
            whether it is of lines (from 0.5), and the contrasts of both kinds.
        f_HW: The `frequencies` of the white noise.
    """
    exponent_B, common_B, kind_B, contrast_B, sharpness_B = amounts_BA.unbind(dim=1)
    height, width = white_BCHW.shape[2] // 2, white_BCHW.shape[3] // 2
    noise_BCHW = coloured(white_BCHW, _between(_EXPONENT, exponent_B), f_HW)
    noise_BCHW = noise_BCHW[..., :height, :width]
    common_B111 = common_B[:, None, None, None]
    own_B111 = (1 - common_B111.square()).sqrt()
    noise_BCHW = common_B111 * noise_BCHW[:, -1:] + own_B111 * noise_BCHW[:, :-1]
    clouds_BCHW = standardised(noise_BCHW)
    sharpness_B111 = _between(_SHARPNESS, sharpness_B)[:, None, None, None]
    lines_BCHW = standardised((-sharpness_B111 * noise_BCHW.abs()).exp())
    clouds_BCHW = clouds_BCHW * _between(_CONTRAST, contrast_B)[:, None, None, None]
    lines_BCHW = lines_BCHW * _between(_LINE_CONTRAST, contrast_B)[:, None, None, None]
    return torch.where(kind_B[:, None, None, None] < 0.5, clouds_BCHW, lines_BCHW)  # noqa: PLR2004


def frequencies(height: int, width: int) -> Tensor:
    """Return how far each value of a spectrum is from its middle, in cycles a pixel: HW.

    Of what is constant it is infinite, so that a power of it takes nothing of that.
    """
    rows_H, columns_W = torch.fft.fftfreq(height), torch.fft.fftfreq(width)
    f_HW: Tensor = (rows_H[:, None].square() + columns_W.square()).sqrt()
    f_HW[0, 0] = torch.inf
    return f_HW


def coloured(white_BCHW: Tensor, exponent_B: Tensor, f_HW: Tensor) -> Tensor:
    """Return noise with amplitudes that fall as 1 / f^exponent, each image with mean 0 and std 1.

    f are its `frequencies`, on its device; what is constant is 0.
    """
    filter_B1HW = f_HW ** -exponent_B[:, None, None, None]
    spectrum_BCHW = torch.fft.fft2(white_BCHW) * filter_B1HW
    return standardised(torch.fft.ifft2(spectrum_BCHW).real)


def standardised(x_BCHW: Tensor) -> Tensor:
    """Return images whose values have mean 0 and, where they are not constant, std 1."""
    x_BCHW = x_BCHW - x_BCHW.mean(dim=(1, 2, 3), keepdim=True)
    std_B111 = x_BCHW.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    standardised_BCHW: Tensor = x_BCHW / std_B111.clamp(min=_LEAST)
    return standardised_BCHW


def _between(bounds: tuple[float, float], share_B: Tensor) -> Tensor:
    """Return the values that lie at `share_B` of the way from the first bound to the second."""
    low, high = bounds
    return low + (high - low) * share_B

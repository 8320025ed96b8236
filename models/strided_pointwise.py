"""Strided 1x1 convolutions whose weight gradient oneDNN gets wrong on a CPU, channels last."""

from collections.abc import Sequence

_MIN_CHANNELS = 16
"""Channels that fill a vector of AVX-512; with so many oneDNN stays within its memory."""


def is_unsafe_channels_last(
    kernel_size: Sequence[int], stride: Sequence[int], *, in_channels: int, groups: int
) -> bool:
    """Return whether the weight's gradient writes beyond the scratch memory of oneDNN 3.13.

    It does below 8 input channels with AVX2, below 16 with AVX-512 and several threads. The process
    dies, or goes on with wrong gradients.
    """
    is_pointwise = all(size == 1 for size in kernel_size)
    return is_pointwise and max(stride) > 1 and groups == 1 and in_channels < _MIN_CHANNELS

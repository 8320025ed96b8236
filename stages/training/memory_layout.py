"""Channels last for networks that are trained, except where oneDNN is wrong in that layout.

Shape legend: B batch, C channel, H W space.
"""

from typing import TypeVar

import torch
from torch import Tensor, nn

_Network = TypeVar("_Network", bound=nn.Module)
_MIN_CHANNELS = 16
"""Channels that fill a vector of AVX-512; with so many oneDNN stays within its memory."""


def place(network: _Network, device: torch.device) -> _Network:
    """Return `network` on `device`, laid out channels last and safe to train there.

    The weight gradient of a strided 1x1 convolution of channels-last images writes beyond its
    scratch memory in oneDNN 3.13 (torch 2.15): below 8 input channels with AVX2, below 16 with
    AVX-512 and several threads. The process dies, or goes on with wrong gradients. On the CPU
    such layers compute in the default layout, whatever the layout of their input, and return
    their output channels last.
    """
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu":
        for layer in strided_pointwise(network):
            _keep_default_layout(layer)
    return network


def strided_pointwise(network: nn.Module) -> list[nn.Conv2d]:
    """Return the layers whose weight gradient is unsafe channels last on the CPU, see `place`."""
    return [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and layer.stride != (1, 1)
        and layer.groups == 1
        and layer.in_channels < _MIN_CHANNELS
    ]


def _keep_default_layout(layer: nn.Conv2d) -> None:
    # A 1x1 weight counts as contiguous in both layouts, but torch goes by its strides: a copy.
    layer.weight.data = layer.weight.data.clone(memory_format=torch.contiguous_format)
    layer.register_forward_pre_hook(_to_default_layout)
    layer.register_forward_hook(_to_channels_last)


def _to_default_layout(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x_BCHW.contiguous() for x_BCHW in inputs)


def _to_channels_last(_layer: nn.Module, _inputs: tuple[Tensor, ...], y_BCHW: Tensor) -> Tensor:
    return y_BCHW.contiguous(memory_format=torch.channels_last)

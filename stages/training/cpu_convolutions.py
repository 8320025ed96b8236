"""Convolutions whose weight gradients oneDNN gets wrong on a CPU, made safe to train.

Seen with oneDNN 3.13 (torch 2.15).

Shape legend: B batch, C channel, H W space.
"""

from typing import Any

import torch
from torch import Tensor, nn

from models.strided_pointwise import is_unsafe_channels_last


def strided_pointwise(network: nn.Module) -> list[nn.Conv2d]:
    """Return the layers whose weight gradient is unsafe channels last."""
    return [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
        and is_unsafe_channels_last(
            layer.kernel_size,
            layer.stride,
            in_channels=layer.in_channels,
            groups=layer.groups,
        )
    ]


def make_safe(network: nn.Module, dtype: torch.dtype) -> None:
    """Let all convolutions of a network on the CPU, which computes in `dtype`, have gradients.

    The strided ones of `strided_pointwise` compute in the default layout, whatever the layout of
    their input, and return their output channels last. Those of which a part of the kernel lies
    on padding alone compute in fp32 where they would in bf16: that part's gradient, which is 0,
    is never written there, and holds whatever was in memory.
    """
    for layer in strided_pointwise(network):
        # A 1x1 weight is contiguous in both layouts, but torch goes by its strides: a copy.
        layer.weight.data = layer.weight.data.clone(memory_format=torch.contiguous_format)
        layer.register_forward_pre_hook(lambda _, inputs: inputs[0].contiguous())
        layer.register_forward_hook(
            lambda _, _inputs, y_BCHW: y_BCHW.contiguous(memory_format=torch.channels_last)
        )
    if dtype != torch.bfloat16:
        return
    for module in network.modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            continue
        kind = type(module)
        if max(module.kernel_size) > 1 and not issubclass(kind, _Fp32OnPadding):
            # A class, since copies of the network have it too; a method would stay this layer's.
            most_px = max(module.kernel_size) * max(module.dilation) + max(module.stride)
            contents = {"most_px": most_px}
            module.__class__ = type(kind.__name__, (_Fp32OnPadding, kind), contents)


class _Fp32OnPadding:
    """A convolution that computes in fp32 where a part of its kernel lies on padding alone."""

    most_px: int
    """The largest side of an image on which that is to be looked for."""

    def forward(self, x_BCHW: Tensor, *args: Any) -> Tensor:
        """Return what the convolution gives."""
        run = super().forward  # type: ignore[misc]
        if min(x_BCHW.shape[2:]) <= self.most_px:
            assert isinstance(self, nn.Conv2d | nn.ConvTranspose2d)
            if lies_on_padding(self, x_BCHW):
                with torch.autocast("cpu", enabled=False):
                    y32_BCHW: Tensor = run(x_BCHW.float(), *args)
                    return y32_BCHW
        y_BCHW: Tensor = run(x_BCHW, *args)
        return y_BCHW


def lies_on_padding(layer: nn.Conv2d | nn.ConvTranspose2d, x_BCHW: Tensor) -> bool:
    """Return whether a row or column of a kernel meets nothing but padding."""
    is_transposed = isinstance(layer, nn.ConvTranspose2d)
    for dim in (0, 1):
        size, kernel = x_BCHW.shape[2 + dim], layer.kernel_size[dim]
        stride, dilation = layer.stride[dim], layer.dilation[dim]
        reach = dilation * (kernel - 1)
        if layer.padding == "valid":
            padding = (0, 0)
        elif layer.padding == "same":
            padding = (reach // 2, reach - reach // 2)
        else:
            padding = (int(layer.padding[dim]),) * 2
        if is_transposed:
            steps = size
            extra = int(layer.output_padding[dim])
            size = (size - 1) * stride - sum(padding) + reach + extra + 1
        else:
            steps = (size + sum(padding) - reach - 1) // stride + 1
        for place in range(kernel):
            first = place * dilation - padding[0]
            step = max(0, -(first // stride))  # the first that is not before the images
            if step >= steps or first + step * stride >= size:
                return True
    return False

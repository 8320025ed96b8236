"""Residual networks for small images: CIFAR's, ImageNet's with another stem, and wide ones.

Layers of `SmallResNet` and `WideResNet` are called as in the repositories that most checkpoints
come from: layer1 to layer4, shortcut, linear; block1 to block3, layer, convShortcut, fc. Names
that torchvision has, downsample and fc, are read as well (`models.key_names`).

Shape legend: B batch, C channel, H W space, K classes.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.classifier import initialise

_WIDTHS = (64, 128, 256, 512)
_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_BOTTLENECK_DEPTH = 50
_WIDE_STEM = 16


def conv3x3(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d:
    """Return a 3x3 convolution without bias that keeps the size at stride 1."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return the way around a block: a 1x1 projection where it changes the shape."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut around them (He et al. 2016, figure 2)."""

    expansion = 1

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """Build the block; the shortcut is a 1x1 projection where the shape changes."""
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels, 1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = shortcut(in_channels, out_channels, stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map features of shape BCHW to features of the block's output shape."""
        h_BCHW = torch.relu(self.bn1(self.conv1(x_BCHW)))
        h_BCHW = self.bn2(self.conv2(h_BCHW))
        return torch.relu(h_BCHW + self.shortcut(x_BCHW))


class PaddedBlock(BasicBlock):
    """A block whose shortcut adds zeros for new channels (He et al. 2016, option A).

    Half of them come before and half behind the old ones, as in the repository that most
    checkpoints of such networks come from (akamaster/pytorch_resnet_cifar10).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """Build the block; no tensor belongs to its shortcut."""
        super().__init__(in_channels, out_channels, stride)
        self.shortcut = _PaddedShortcut((out_channels - in_channels) // 2, stride)


class _PaddedShortcut(nn.Module):
    """Every `stride`-th pixel, between channels of zeros."""

    def __init__(self, padding: int, stride: int) -> None:
        super().__init__()
        self.padding, self.stride = padding, stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = x_BCHW[:, :, :: self.stride, :: self.stride]
        return functional.pad(x_BCHW, (0, 0, 0, 0, self.padding, self.padding))


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution with a shortcut around them (He et al. 2016, figure 5).

    The 3x3 convolution carries the stride, as is usual by now.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        """Build the block; it gives `expansion` times `width` channels."""
        super().__init__()
        out_channels = self.expansion * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map features of shape BCHW to features of the block's output shape."""
        h_BCHW = torch.relu(self.bn1(self.conv1(x_BCHW)))
        h_BCHW = torch.relu(self.bn2(self.conv2(h_BCHW)))
        h_BCHW = self.bn3(self.conv3(h_BCHW))
        return torch.relu(h_BCHW + self.shortcut(x_BCHW))


class PreActivationBlock(nn.Module):
    """Norm and ReLU before each of two 3x3 convolutions (He et al. 2016b, figure 1b).

    Where the shape changes, the shortcut is a 1x1 projection of the activated input.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """Build the block."""
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels, 1)
        self.convShortcut: nn.Conv2d | None = None
        if stride != 1 or in_channels != out_channels:
            self.convShortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map features of shape BCHW to features of the block's output shape."""
        a_BCHW = torch.relu(self.bn1(x_BCHW))
        around_BCHW = x_BCHW if self.convShortcut is None else self.convShortcut(a_BCHW)
        h_BCHW = torch.relu(self.bn2(self.conv1(a_BCHW)))
        out_BCHW: Tensor = self.conv2(h_BCHW) + around_BCHW
        return out_BCHW


def _stage(
    block: type[BasicBlock | PreActivationBlock],
    in_channels: int,
    out_channels: int,
    blocks: int,
    stride: int,
) -> nn.Sequential:
    """Return blocks one after the other, of which the first changes the shape."""
    first = block(in_channels, out_channels, stride)
    rest = [block(out_channels, out_channels, 1) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


class CifarResNet(nn.Module):
    """A residual network of depth 6n + 2 for small images (He et al. 2016, section 4.2).

    Differs from the paper in the shortcut, a projection (option B), unless zero `padding` is asked
    for (option A).
    """

    def __init__(
        self, *, depth: int, width: int, in_channels: int, num_classes: int, padding: bool = False
    ) -> None:
        """Build the network for `in_channels` and K = `num_classes`.

        The first stage has `width` channels; the next two have twice and four times as many.

        Raises:
            ValueError: `depth` is not 6n + 2 with n >= 1.
        """
        super().__init__()
        blocks_per_stage, rest = divmod(depth - 2, 6)
        if rest or blocks_per_stage < 1:
            message = f"depth must be 6n + 2 with n >= 1, got {depth}"
            raise ValueError(message)
        self.conv1 = conv3x3(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        block = PaddedBlock if padding else BasicBlock
        self.stage1 = _stage(block, width, width, blocks_per_stage, 1)
        self.stage2 = _stage(block, width, 2 * width, blocks_per_stage, 2)
        self.stage3 = _stage(block, 2 * width, 4 * width, blocks_per_stage, 2)
        self.fc = nn.Linear(4 * width, num_classes)
        initialise(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits of shape BK for images of shape BCHW."""
        h_BCHW = torch.relu(self.bn1(self.conv1(x_BCHW)))
        h_BCHW = self.stage3(self.stage2(self.stage1(h_BCHW)))
        logits_BK: Tensor = self.fc(h_BCHW.mean(dim=(2, 3)))
        return logits_BK


class SmallResNet(nn.Module):
    """The ImageNet networks of He et al. 2016 with the stem that small images need."""

    def __init__(self, *, depth: int, in_channels: int, num_classes: int) -> None:
        """Build the network for `in_channels` and K = `num_classes`.

        Raises:
            ValueError: `depth`, the count of layers with weights, is not 18, 34 or 50.
        """
        super().__init__()
        if depth not in _BLOCKS:
            message = f"depth must be one of {sorted(_BLOCKS)}, got {depth}"
            raise ValueError(message)
        block = Bottleneck if depth >= _BOTTLENECK_DEPTH else BasicBlock
        self.conv1 = conv3x3(in_channels, _WIDTHS[0], 1)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        channels = _WIDTHS[0]
        for number, (width, count) in enumerate(zip(_WIDTHS, _BLOCKS[depth], strict=True)):
            blocks = []
            for i in range(count):
                blocks.append(block(channels, width, 2 if number > 0 and i == 0 else 1))
                channels = block.expansion * width
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits of shape BK for images of shape BCHW."""
        h_BCHW = torch.relu(self.bn1(self.conv1(x_BCHW)))
        for number in range(len(_WIDTHS)):
            h_BCHW = self.get_submodule(f"layer{number + 1}")(h_BCHW)
        logits_BK: Tensor = self.linear(h_BCHW.mean(dim=(2, 3)))
        return logits_BK


class WideResNet(nn.Module):
    """A wide residual network of depth 6n + 4, as its authors count layers with weights."""

    def __init__(self, *, depth: int, widen: int, in_channels: int, num_classes: int) -> None:
        """Build the network for `in_channels` and K = `num_classes`.

        Its three stages have `widen` times 16, 32 and 64 channels.

        Raises:
            ValueError: `depth` is not 6n + 4 with n >= 1.
        """
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            message = f"depth must be 6n + 4 with n >= 1, got {depth}"
            raise ValueError(message)
        first, second, third = 16 * widen, 32 * widen, 64 * widen
        self.conv1 = conv3x3(in_channels, _WIDE_STEM, 1)
        shapes = ((_WIDE_STEM, first, 1), (first, second, 2), (second, third, 2))
        self.block1, self.block2, self.block3 = (
            nn.Sequential(
                OrderedDict(layer=_stage(PreActivationBlock, before, width, blocks, stride))
            )
            for before, width, stride in shapes
        )
        self.bn1 = nn.BatchNorm2d(third)
        self.fc = nn.Linear(third, num_classes)
        initialise(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits of shape BK for images of shape BCHW."""
        h_BCHW = self.block3(self.block2(self.block1(self.conv1(x_BCHW))))
        h_BCHW = torch.relu(self.bn1(h_BCHW))
        logits_BK: Tensor = self.fc(h_BCHW.mean(dim=(2, 3)))
        return logits_BK

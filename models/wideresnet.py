"""Wide residual networks for small images (Zagoruyko & Komodakis 2016).

Layers are called as in the repositories that most checkpoints come from: conv1, block1 to
block3, layer, convShortcut, bn1, fc.

Shape legend: B batch, C channel, H W space, K classes.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from models.classifier import initialise
from models.resnet import conv3x3

_STEM = 16
_STAGES = 3


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


def _stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    """Return blocks one after the other, inside the name `layer` that their weights have."""
    first = PreActivationBlock(in_channels, out_channels, stride)
    rest = [PreActivationBlock(out_channels, out_channels, 1) for _ in range(blocks - 1)]
    return nn.Sequential(OrderedDict(layer=nn.Sequential(first, *rest)))


class WideResNet(nn.Module):
    """A wide residual network of depth 6n + 4."""

    def __init__(self, *, depth: int, widen: int, in_channels: int, num_classes: int) -> None:
        """Build the network.

        Args:
            depth: Layers with weights, 6n + 4, as its authors count them.
            widen: How many times 16, 32 and 64 channels the three stages have.
            in_channels: Channels of the input image.
            num_classes: Size K of the output.

        Raises:
            ValueError: `depth` is not 6n + 4 with n >= 1.
        """
        super().__init__()
        blocks, rest = divmod(depth - 4, 2 * _STAGES)
        if rest or blocks < 1:
            message = f"depth must be 6n + 4 with n >= 1, got {depth}"
            raise ValueError(message)
        widths = [_STEM * 2**i * widen for i in range(_STAGES)]
        self.conv1 = conv3x3(in_channels, _STEM, 1)
        self.block1 = _stage(_STEM, widths[0], blocks, 1)
        self.block2 = _stage(widths[0], widths[1], blocks, 2)
        self.block3 = _stage(widths[1], widths[2], blocks, 2)
        self.bn1 = nn.BatchNorm2d(widths[2])
        self.fc = nn.Linear(widths[2], num_classes)
        initialise(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits of shape BK for images of shape BCHW."""
        h_BCHW = self.block3(self.block2(self.block1(self.conv1(x_BCHW))))
        h_BCHW = torch.relu(self.bn1(h_BCHW))
        logits_BK: Tensor = self.fc(h_BCHW.mean(dim=(2, 3)))
        return logits_BK

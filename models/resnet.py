"""CIFAR-style residual networks: three stages of basic blocks for images of 8 to 64 pixels.

Shape legend: B batch, C channel, H W space, K classes. Knows nothing of training or files.
"""

import torch
from torch import Tensor, nn

from models.init import initialise


def _conv3x3(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d:
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

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """Build the block; the shortcut is a 1x1 projection where the shape changes."""
        super().__init__()
        self.conv1 = _conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv3x3(out_channels, out_channels, 1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map features of shape BCHW to features of the block's output shape."""
        h_BCHW = torch.relu(self.bn1(self.conv1(x_BCHW)))
        h_BCHW = self.bn2(self.conv2(h_BCHW))
        return torch.relu(h_BCHW + self.shortcut(x_BCHW))


class CifarResNet(nn.Module):
    """A residual network of depth 6n + 2 for small images (He et al. 2016, section 4.2).

    Differs from the paper in the shortcut, a projection (option B) instead of zero padding.
    """

    def __init__(self, *, depth: int, width: int, in_channels: int, num_classes: int) -> None:
        """Build the network.

        Args:
            depth: Layers with weights, 6n + 2.
            width: Channels of the first stage; the next two have twice and four times as many.
            in_channels: Channels of the input image.
            num_classes: Size K of the output.

        Raises:
            ValueError: `depth` is not 6n + 2 with n >= 1.
        """
        super().__init__()
        blocks_per_stage, rest = divmod(depth - 2, 6)
        if rest or blocks_per_stage < 1:
            message = f"depth must be 6n + 2 with n >= 1, got {depth}"
            raise ValueError(message)
        self.conv1 = _conv3x3(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.stage1 = self._stage(width, width, blocks_per_stage, stride=1)
        self.stage2 = self._stage(width, 2 * width, blocks_per_stage, stride=2)
        self.stage3 = self._stage(2 * width, 4 * width, blocks_per_stage, stride=2)
        self.fc = nn.Linear(4 * width, num_classes)
        initialise(self)

    @staticmethod
    def _stage(in_channels: int, out_channels: int, blocks: int, *, stride: int) -> nn.Sequential:
        first = BasicBlock(in_channels, out_channels, stride)
        rest = [BasicBlock(out_channels, out_channels, 1) for _ in range(blocks - 1)]
        return nn.Sequential(first, *rest)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits of shape BK for images of shape BCHW."""
        h_BCHW = torch.relu(self.bn1(self.conv1(x_BCHW)))
        h_BCHW = self.stage3(self.stage2(self.stage1(h_BCHW)))
        logits_BK: Tensor = self.fc(h_BCHW.mean(dim=(2, 3)))
        return logits_BK

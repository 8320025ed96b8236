"""MobileNetV2 for small images: the first two reductions of the image are left out.

So images of 32 and 64 pixels end as maps of 4 and 8 pixels. The widths are those of Sandler et
al. 2018, table 2, and so is the number of weights; only the strides differ.

Shape legend: B batch, C channel, H W space, K classes.
"""

from torch import Tensor, nn

from models.classifier import initialise

_PLAN = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks, stride of the first; the paper has stride 2 in the second row."""
_STEM = 32
_LAST = 1280


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter each channel by 3x3, project by 1x1 (Sandler et al. 2018, figure 4)."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int) -> None:
        """Build the block; it has a shortcut where the shape stays."""
        super().__init__()
        width = expansion * in_channels
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += _norm_relu6(nn.Conv2d(in_channels, width, 1, bias=False))
        filtered = nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=width, bias=False)
        layers += _norm_relu6(filtered)
        layers += [nn.Conv2d(width, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)]
        self.layers = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map features of shape BCHW to features of the block's output shape."""
        h_BCHW: Tensor = self.layers(x_BCHW)
        return x_BCHW + h_BCHW if self.has_shortcut else h_BCHW


def _norm_relu6(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU6(inplace=True)]


class SmallMobileNetV2(nn.Module):
    """MobileNetV2 of width 1 with a stem of stride 1."""

    def __init__(self, *, in_channels: int, num_classes: int) -> None:
        """Build the network for `in_channels` and K = `num_classes`."""
        super().__init__()
        self.stem = nn.Sequential(*_norm_relu6(nn.Conv2d(in_channels, _STEM, 3, 1, 1, bias=False)))
        blocks: list[nn.Module] = []
        channels = _STEM
        for expansion, width, count, stride in _PLAN:
            for i in range(count):
                blocks.append(InvertedResidual(channels, width, expansion, stride if i == 0 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(*_norm_relu6(nn.Conv2d(channels, _LAST, 1, bias=False)))
        self.fc = nn.Linear(_LAST, num_classes)
        initialise(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits of shape BK for images of shape BCHW."""
        h_BCHW = self.last(self.blocks(self.stem(x_BCHW)))
        logits_BK: Tensor = self.fc(h_BCHW.mean(dim=(2, 3)))
        return logits_BK

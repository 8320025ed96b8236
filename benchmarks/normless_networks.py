"""Networks without BatchNorm for grey images of 8x8 pixels, as a user's own file has them.

`madpipe` takes them by `FILE.py:FUNCTION`: a residual network with GroupNorm, a vision transformer
with LayerNorm, and a smaller one of each as a student.

Shape legend: B batch, C channel, H W space, K classes.
"""

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

_CLASSES = 10
_GROUPS = 8


class GroupNormBlock(nn.Module):
    """Two 3x3 convolutions, each with GroupNorm (Wu & He 2018), and a shortcut around them."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """Build the block; the shortcut is a 1x1 projection where the shape changes."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(_GROUPS, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(_GROUPS, out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map features of shape BCHW to features of the block's output shape."""
        h_BCHW = torch.relu(self.norm1(self.conv1(x_BCHW)))
        return torch.relu(self.norm2(self.conv2(h_BCHW)) + self.shortcut(x_BCHW))


class GroupNormResNet(nn.Module):
    """A residual network of three stages for small images (He et al. 2016) with GroupNorm."""

    def __init__(self, blocks: int, width: int) -> None:
        """Build the network; the stages have `width`, twice and four times as many channels."""
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, width)
        layers: list[nn.Module] = []
        before = width
        for stage in range(3):
            for number in range(blocks):
                stride = 2 if stage and not number else 1
                layers.append(GroupNormBlock(before, width << stage, stride))
                before = width << stage
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(before, _CLASSES)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits of shape BK for images that are already normalised."""
        h_BCHW = self.blocks(torch.relu(self.norm(self.stem(x_BCHW))))
        logits_BK: Tensor = self.head(h_BCHW.mean(dim=(2, 3)))
        return logits_BK


def _vision_transformer(layers: int, width: int) -> VisionTransformer:
    """Return torchvision's vision transformer on patches of 2x2 pixels, of one channel."""
    network = VisionTransformer(
        image_size=8,
        patch_size=2,
        num_layers=layers,
        num_heads=4,
        hidden_dim=width,
        mlp_dim=2 * width,
        num_classes=_CLASSES,
    )
    network.conv_proj = nn.Conv2d(1, width, 2, stride=2)
    # Left at zero by torchvision, for fine-tuning.
    nn.init.xavier_uniform_(network.get_parameter("heads.head.weight"))
    return network


def group_norm() -> GroupNormResNet:
    """Return a teacher: 14 layers, GroupNorm."""
    return GroupNormResNet(blocks=2, width=16)


def group_norm_student() -> GroupNormResNet:
    """Return a student: 8 layers, GroupNorm."""
    return GroupNormResNet(blocks=1, width=16)


def transformer() -> VisionTransformer:
    """Return a teacher: three layers of 48 features, LayerNorm."""
    return _vision_transformer(3, 48)


def transformer_student() -> VisionTransformer:
    """Return a student: two layers of 32 features, LayerNorm."""
    return _vision_transformer(2, 32)

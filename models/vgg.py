"""VGG-11 with BatchNorm for small images: one linear layer instead of three.

Layers are called as in the CIFAR repositories that most checkpoints come from: features,
classifier.

Shape legend: B batch, C channel, H W space, K classes.
"""

from torch import Tensor, nn

from models.classifier import initialise

_POOL = 0
_PLAN = (64, _POOL, 128, _POOL, 256, 256, _POOL, 512, 512, _POOL, 512, 512, _POOL)
"""Configuration A of Simonyan & Zisserman 2015, table 1."""


class Vgg11(nn.Module):
    """Eight 3x3 convolutions with BatchNorm, five poolings, and a linear layer on the mean."""

    def __init__(self, *, in_channels: int, num_classes: int) -> None:
        """Build the network for `in_channels` and K = `num_classes`."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for width in _PLAN:
            if width == _POOL:
                # Rounding up is the same for 32 and 64 pixels, and lets 28 pixels through.
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                continue
            layers += [
                nn.Conv2d(channels, width, 3, padding=1),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits of shape BK for images of shape BCHW."""
        logits_BK: Tensor = self.classifier(self.features(x_BCHW).mean(dim=(2, 3)))
        return logits_BK

"""A network as a user has it, for `teacher_kinds.py`: grey images of 8x8 pixels in [0, 1]."""

from torch import Tensor, nn


class Network(nn.Module):
    """Four convolutions with BatchNorm, which normalises its images itself."""

    def __init__(self) -> None:
        """Build the layers."""
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((1, 48, 1), (48, 48, 1), (48, 96, 2), (96, 96, 1)):
            convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        self.features, self.head = nn.Sequential(*layers), nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape BK for images of shape BCHW in [0, 1]."""
        logits: Tensor = self.head(self.features((x - 0.305) / 0.376).mean(dim=(2, 3)))
        return logits

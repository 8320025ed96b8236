"""Networks so small that 20,000 rounds take minutes; copied into the projects that name them."""

from torch import nn


def _network(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(width * 16, 10),
    )


def teacher() -> nn.Module:
    """Return the teacher, for digits of 8 by 8 pixels."""
    return _network(8)


def student() -> nn.Module:
    """Return the student, of half its width."""
    return _network(4)

"""A student of 224 pixels for `pixels_224.py`: ResNet-18 with one block a stage, not two.

`madpipe` takes it by `FILE.py:FUNCTION`; its layers have the names of torchvision's ResNet-18.
"""

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

_CLASSES = 10


def make() -> nn.Module:
    """Return the network, at random."""
    network: nn.Module = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=_CLASSES)
    return network

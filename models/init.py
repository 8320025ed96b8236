"""The weights that the networks of the registry start from."""

from torch import nn


def initialise(network: nn.Module) -> None:
    """Fill convolutions as He et al. 2015 did for rectifiers, by fan-out; their biases with 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)

"""Weights by name: which settings name weights of a hub, and not a file. Light."""

from typing import Final

TORCHVISION: Final = "torchvision"
TIMM: Final = "timm"
HUGGING_FACE: Final = "hf"
HUBS = (TORCHVISION, TIMM, HUGGING_FACE)
"""What stands before the colon of a name."""
FORMS = (
    'name "torchvision:MEMBER" with its arch, "torchvision:ARCH.MEMBER", "timm:ARCH.TAG" or '
    '"hf:OWNER/REPO[@REVISION]"'
)
"""How weights are named, for messages."""


def hub_of(weights: str | None) -> str | None:
    """Return the hub that `weights` names weights of; None where it names a file or nothing."""
    hub, colon, _ = (weights or "").partition(":")
    return hub if colon and hub in HUBS else None

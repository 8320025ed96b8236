"""The networks that can be named in the settings, declared without importing them.

    resnet20                 a name from the table below; resnet18 is the one for small images
    torchvision:resnet18     any classifier of torchvision, by its name there
    timm:resnet18            the same for timm, where it is installed
    net.py:make              a function or class, in a file, that returns a module
    transformers:resnet      an image classifier of transformers, whose code is its config.json

Light: declarations ask here about names, and only `create` imports a network.
"""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from models.fault import NetworkFault
from pipeline.errors import did_you_mean
from pipeline.image_size import ImageSize

if TYPE_CHECKING:
    from torch import nn

_LIBRARIES = ("torchvision", "timm", "transformers")
_LIBRARY_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Architecture:
    """Where a named network is built, and with which arguments."""

    module: str
    factory: str
    arguments: Mapping[str, int] = field(default_factory=dict)


def _resnet(factory: str, **arguments: int) -> Architecture:
    return Architecture("models.resnet", factory, arguments)


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "resnet8": _resnet("CifarResNet", depth=8, width=16),
        "resnet14": _resnet("CifarResNet", depth=14, width=32),
        "resnet20": _resnet("CifarResNet", depth=20, width=16),
        "resnet32": _resnet("CifarResNet", depth=32, width=16),
        "resnet56": _resnet("CifarResNet", depth=56, width=16),
        **{
            f"resnet{depth}-pad": _resnet("CifarResNet", depth=depth, width=16, padding=True)
            for depth in (20, 32, 44, 56, 110)
        },
        "resnet18": _resnet("SmallResNet", depth=18),
        "resnet34": _resnet("SmallResNet", depth=34),
        "resnet50": _resnet("SmallResNet", depth=50),
        "wrn16-1": _resnet("WideResNet", depth=16, widen=1),
        "wrn16-2": _resnet("WideResNet", depth=16, widen=2),
        "wrn40-1": _resnet("WideResNet", depth=40, widen=1),
        "wrn40-2": _resnet("WideResNet", depth=40, widen=2),
        "vgg11": Architecture("models.vgg", "Vgg11"),
        "mobilenetv2": Architecture("models.mobilenet", "SmallMobileNetV2"),
    }
)
"""Networks for small images, of 1 or 3 channels and 28, 32 or 64 pixels.

resnet8 to resnet56 are the three-stage residual networks for CIFAR; resnet14 has twice the usual
width (0.70 M parameters); those with -pad have zeros for shortcuts, as the paper's. resnet18, 34
and 50 are the four-stage ones with a 3x3 stem.
"""


class UnknownArchitecture(NetworkFault):
    """A name of no architecture in the table, in a library or in a file."""


def source_file(arch: str) -> Path | None:
    """Return the file of `FILE.py:FUNCTION`, None for any other kind of name."""
    file, _, function = arch.rpartition(":")
    return Path(file) if file.endswith(".py") and function.isidentifier() else None


def code_modules(arch: str) -> tuple[str, ...]:
    """Return our own modules that building `arch` runs."""
    architecture = ARCHITECTURES.get(arch)
    return (architecture.module,) if architecture else ("models.external",)


def package(arch: str) -> str | None:
    """Return the distribution that `arch` comes from, None where it is our own or a file."""
    library = arch.partition(":")[0]
    return library if library in _LIBRARIES else None


def check_name(arch: str) -> None:
    """Make sure that `arch` is of a form that can name a network; nothing is imported.

    Raises:
        UnknownArchitecture: It is not.
    """
    if arch in ARCHITECTURES or source_file(arch):
        return
    if library := package(arch):
        # timm takes a longer name for that of a repository to download, or of a folder to read.
        if _LIBRARY_NAME.fullmatch(arch.removeprefix(f"{library}:")):
            return
        raise UnknownArchitecture(
            f"names no network of {library} ({arch})",
            f"give a name of {library}'s own list; weights of a hub are named by teacher.weights",
        )
    raise UnknownArchitecture(
        f"no such architecture{did_you_mean(arch, ARCHITECTURES)} ({arch})",
        f"name one of {', '.join(ARCHITECTURES)}, torchvision:NAME, timm:NAME or FILE.py:FUNCTION",
    )


def create(
    arch: str,
    *,
    in_channels: int,
    num_classes: int,
    code: Path | None,
    image_size_px: ImageSize | None = None,
) -> "nn.Module":
    """Build the network `arch` with random weights.

    Args:
        arch: Its name, in one of the forms above.
        in_channels: Channels of its input; libraries and files may only offer 3.
        num_classes: Size of its output.
        code: The file of a `FILE.py:FUNCTION` name, or the configuration of transformers.
        image_size_px: Height and width of its images, for networks that are made for one size.

    Raises:
        UnknownArchitecture: There is no such network, or its library or file refuses.
    """
    check_name(arch)
    if architecture := ARCHITECTURES.get(arch):
        factory = getattr(importlib.import_module(architecture.module), architecture.factory)
        network: nn.Module = factory(
            **architecture.arguments, in_channels=in_channels, num_classes=num_classes
        )
        return network
    from models import external  # noqa: PLC0415  (only outside networks pay for it)

    library, _, name = arch.partition(":")
    if library == "transformers":
        from models import of_transformers  # noqa: PLC0415  (as above)

        return of_transformers.from_config(
            code,
            arch,
            in_channels=in_channels,
            num_classes=num_classes,
            image_size_px=image_size_px,
        )
    if code is not None:
        return external.from_file(
            code,
            arch.rpartition(":")[2],
            in_channels=in_channels,
            num_classes=num_classes,
            image_size_px=image_size_px,
        )
    return external.from_library(
        library,
        name,
        in_channels=in_channels,
        num_classes=num_classes,
        image_size_px=image_size_px,
    )

"""Networks from outside: torchvision, timm, or a function in the user's own file."""

import importlib
import runpy
from pathlib import Path

from torch import nn

from models.isolated_imports import IsolatedImports
from models.registry import UnknownArchitecture
from pipeline.errors import error_summary

_RGB = 3


def from_library(library: str, name: str, *, in_channels: int, num_classes: int) -> nn.Module:
    """Build a classifier of torchvision or timm with random weights.

    Raises:
        UnknownArchitecture: The library is not installed, has no such classifier, or the
            classifier does not take the channels.
    """
    try:
        module = importlib.import_module("timm" if library == "timm" else "torchvision.models")
    except ModuleNotFoundError as error:
        raise UnknownArchitecture(
            f"{library} is not installed ({library}:{name})", f"run pip install {library}"
        ) from error
    if library == "torchvision" and in_channels != _RGB:
        raise UnknownArchitecture(
            f"torchvision's networks take 3 channels, the images have {in_channels} ({name})",
            "use an architecture of the registry or FILE.py:FUNCTION",
        )
    try:
        if library == "timm":
            network = module.create_model(name, in_chans=in_channels, num_classes=num_classes)
        else:
            network = module.get_model(name, weights=None, num_classes=num_classes)
    except (ValueError, RuntimeError, TypeError) as error:
        raise UnknownArchitecture(
            f"{library} does not build it: {error_summary(error)} ({name})",
            f"see the list of {library}'s models",
        ) from error
    if not isinstance(network, nn.Module):
        raise UnknownArchitecture(f"is not a network ({library}:{name})", "name a classifier")
    return network


def from_file(path: Path, function: str) -> nn.Module:
    """Call a function without arguments in a user's file and return the module that it returns.

    The file may import packages of its own that lie beside it, also under names that ours have,
    and also later, in the middle of the network's forward pass.

    Raises:
        UnknownArchitecture: No such file or function, it raises, or it returns no module.
    """
    place = f"{path}:{function}"
    if not path.is_file():
        raise UnknownArchitecture(f"no such file ({path})", "correct the path")
    imports = IsolatedImports(path.parent.resolve())
    with imports.active():
        try:
            namespace = {"__builtins__": imports.builtins}
            factory = runpy.run_path(str(path), init_globals=namespace).get(function)
        except (Exception, SystemExit) as error:
            raise UnknownArchitecture(
                f"the file raises {error_summary(error)} ({path})", "correct the file"
            ) from error
        if not callable(factory):
            raise UnknownArchitecture(f"has no such function ({place})", "correct its name")
        try:
            network = factory()
        except (Exception, SystemExit) as error:
            raise UnknownArchitecture(
                f"the function raises {error_summary(error)} ({place})", "correct it"
            ) from error
    if not isinstance(network, nn.Module):
        raise UnknownArchitecture(
            f"returns {type(network).__name__}, not a torch module ({place})", "return the module"
        )
    return network

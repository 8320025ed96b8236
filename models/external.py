"""Networks from outside: torchvision, timm, or a function in the user's own file."""

import importlib
import inspect
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from models.isolated_imports import IsolatedImports
from models.registry import UnknownArchitecture
from models.users_code import SHIELDED_ERRORS, as_script, fault
from pipeline.errors import error_summary
from pipeline.image_size import ImageSize, compact, sides_px, size_text

_RGB = 3
_FIXED: dict[str, dict[str, Any]] = {
    # Heads for training alone would make tuples of the outputs.
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
_SIZE_WORDS = ("img_size", "image_size", "input_size")
_CLASS_WORDS = frozenset({
    "num_classes", "n_classes", "nclasses", "num_class", "n_class", "nb_classes", "classes",
    "nclass", "class_num", "classes_num", "num_labels", "n_labels", "nb_labels",
})  # fmt: skip
_KNOWN_ARGUMENTS: dict[str, str] = (
    dict.fromkeys(
        ("in_channels", "in_chans", "in_channel", "num_channels", "n_channels", "channels", "in_ch",
         "input_channels", "inchannels"),
        "channels",
    )
    | dict.fromkeys(
        ("image_size", "img_size", "input_size", "image_size_px", "imgsize", "resolution"), "size"
    )
    | {"pretrained": "pretrained", "weights": "weights"}
)  # fmt: skip
"""What the arguments of users' functions are usually called."""


def from_library(
    library: str,
    name: str,
    *,
    in_channels: int,
    num_classes: int,
    image_size_px: ImageSize | None = None,
) -> nn.Module:
    """Build a classifier of torchvision or timm with random weights.

    A network that is made for one image size is made for `image_size_px`.

    Raises:
        UnknownArchitecture: The library is not installed, has no such classifier, or the
            classifier does not take the channels or the size.
    """
    try:
        module = importlib.import_module("timm" if library == "timm" else "torchvision.models")
    except ModuleNotFoundError as error:
        raise UnknownArchitecture(
            f"{library} is not installed ({library}:{name})", f"run pip install {library}"
        ) from error

    def create(**sizes: Any) -> Any:
        if library == "timm":
            return module.create_model(name, in_chans=in_channels, num_classes=num_classes, **sizes)
        fixed = _FIXED.get(name, {})
        return module.get_model(name, weights=None, num_classes=num_classes, **fixed, **sizes)

    purpose, remedy = "", f"see the list of {library}'s models"
    try:
        network = create()
        if isinstance(network, nn.Module) and image_size_px is not None:
            purpose = f" for images of {size_text(image_size_px)}"
            remedy = "name a network for this size, or another size"
            if sizes := _size_arguments(network, image_size_px):
                network = create(**sizes)
    except (ValueError, RuntimeError, TypeError, AssertionError) as error:
        raise UnknownArchitecture(
            f"{library} does not build it{purpose}: {error_summary(error)} ({name})", remedy
        ) from error
    if not isinstance(network, nn.Module):
        raise UnknownArchitecture(f"is not a network ({library}:{name})", "name a classifier")
    if library == "torchvision" and in_channels != _RGB:
        _take_channels(network, in_channels)
    return network


def _take_channels(network: nn.Module, in_channels: int) -> None:
    """Let the first convolution take another number of channels, as it is usually changed."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            parent, _, last = name.rpartition(".")
            first = nn.Conv2d(
                in_channels,
                layer.out_channels,
                layer.kernel_size,  # type: ignore[arg-type]
                layer.stride,  # type: ignore[arg-type]
                layer.padding,  # type: ignore[arg-type]
                bias=layer.bias is not None,
            )
            setattr(network.get_submodule(parent), last, first)
            return


def _size_arguments(network: nn.Module, image_size_px: ImageSize) -> dict[str, Any]:
    """Return the arguments with which a library makes this network for another image size.

    ValueError where it makes it for square images alone.
    """
    # Some classes of timm only pass on what those that they are made of take.
    makers = [vars(kind).get("__init__") for kind in type(network).__mro__[:-1]]
    parameters = {name for make in makers if make for name in inspect.signature(make).parameters}
    word = next((word for word in _SIZE_WORDS if word in parameters), None)
    config = getattr(network, "default_cfg", None) or {}
    own = (*config.get("input_size", ())[-2:], getattr(network, "image_size", None))
    if word is None:
        return {}
    height, width = sides_px(image_size_px)
    if height == width:
        if height in own:
            return {}
        return {word: (height, width) if word == "input_size" else height}
    if word == "image_size":
        raise ValueError("it takes square images alone")
    return {word: (height, width)}


def from_file(
    path: Path,
    function: str,
    *,
    in_channels: int = _RGB,
    num_classes: int | None = None,
    image_size_px: ImageSize | None = None,
) -> nn.Module:
    """Call a function in a user's file and return the module that it returns, or is.

    It gets the arguments that it needs, where their names say what they are, and the number of
    classes where its default is another. What the file prints goes to standard error. It may
    import packages of its own that lie beside it, also under names that ours have, and also
    later, in the middle of the network's forward pass.

    Raises:
        UnknownArchitecture: No such file or function, it raises, it needs an argument that is not
            known, or it returns no module.
    """
    place = f"{path}:{function}"
    if not path.is_file():
        raise UnknownArchitecture(f"no such file ({path})", "correct the path")
    imports = IsolatedImports(path.parent.resolve())
    with imports.active(), as_script(path):
        try:
            namespace = {"__builtins__": imports.builtins}
            factory = runpy.run_path(str(path), init_globals=namespace).get(function)
        except SHIELDED_ERRORS as error:
            wrong, remedy = fault(error, path)
            raise UnknownArchitecture(f"the file {wrong}", remedy) from error
        if not callable(factory):
            raise UnknownArchitecture(f"has no such function ({place})", "correct its name")
        is_network = isinstance(factory, nn.Module)
        size = None if image_size_px is None else compact(image_size_px)
        values = {"channels": in_channels, "size": size, "classes": num_classes}
        arguments = {} if is_network else _arguments(factory, values, place)
        try:
            network = factory if is_network else factory(**arguments)
        except SHIELDED_ERRORS as error:
            wrong, remedy = fault(error, path)
            raise UnknownArchitecture(f"the function {wrong}", remedy) from error
    if not isinstance(network, nn.Module):
        raise UnknownArchitecture(
            f"returns {type(network).__name__}, not a torch module ({place})", "return the module"
        )
    if any(parameter.is_cuda for parameter in network.parameters()):
        network.cpu()  # what runs it moves it
    return network


def _arguments(
    factory: Callable[..., Any], values: Mapping[str, ImageSize | None], place: str
) -> dict[str, Any]:
    """Return the arguments for a user's function, by their names.

    Raises:
        UnknownArchitecture: It needs one that is not known.
    """
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # such as a function in C
        return {}
    known: dict[str, Any] = {**values, "pretrained": False, "weights": None}
    arguments = {}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        name, default = parameter.name, parameter.default
        is_needed = default is parameter.empty
        if name.lower() in _CLASS_WORDS and values["classes"] is not None:
            if is_needed or (type(default) is int and default != values["classes"]):
                arguments[name] = values["classes"]
        elif is_needed:
            word = _KNOWN_ARGUMENTS.get(name.lower(), "")
            if word not in known or (word in values and values[word] is None):
                raise UnknownArchitecture(
                    f"needs an argument that madpipe does not know ({place}: {name})",
                    "give it a default, or name a function without it",
                )
            arguments[name] = known[word]
    return arguments

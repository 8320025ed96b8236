"""Torch checkpoints, read so that none can run code.

`weights_only=True` always holds. Training scripts keep options and figures beside the weights, as
objects of NumPy, argparse and the like: those of the packages below are read as inert mappings,
so that neither their code nor that of the file runs; any other object is refused.
"""

import io
import pickle
import pickletools
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch

from pipeline.errors import first_line
from pipeline.stage import StageError
from stages.foreign_files import recognise

_TORN = (
    RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, OSError,
    zipfile.BadZipFile,
)  # fmt: skip
"""What torch raises for a file that is not whole."""
_INERT_PACKAGES = frozenset({
    "numpy", "argparse", "pathlib", "datetime", "omegaconf", "yacs", "easydict", "addict",
    "ml_collections", "pytorch_lightning", "lightning", "lightning_fabric", "torchmetrics",
})  # fmt: skip
"""Packages whose objects lie beside weights."""
_INERT = frozenset({
    "types.SimpleNamespace", "typing.Any", "builtins.dict",
    "builtins.list", "builtins.tuple", "builtins.int", "builtins.float", "builtins.str",
    "builtins.bool", "builtins.frozenset", "builtins.object", "copyreg._reconstructor",
    "decimal.Decimal", "fractions.Fraction", "uuid.UUID",
})  # fmt: skip
_MODULES_OF_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_PICKLES = 5
"""A file of the old format is as many pickles, one after the other."""
_NAMES = 3


_MAPPINGS = frozenset({"AttributeDict", "EasyDict", "CfgNode", "Dict"})
"""Classes of these packages that are pickled as mappings, to which torch adds items."""


class _Inert(dict[Any, Any]):
    """Stands for an object beside the weights, whatever it is made from."""

    def __new__(cls, *_arguments: object) -> Self:
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None:
        super().__init__()

    def __setstate__(self, _state: object) -> None:
        pass

    # It may stand in a set.
    __hash__ = object.__hash__  # type: ignore[assignment]


def load(content: bytes, path: Path, place: str) -> object:
    """Return what a torch checkpoint holds, tensors on the CPU.

    Raises:
        StageError: It is no torch checkpoint, not whole, or holds what could run code.
    """
    if foreign := recognise(content):
        raise StageError(place, f"{foreign.what} ({path})", foreign.remedy)
    try:
        return _load(content)
    except pickle.UnpicklingError:
        pass
    except _TORN as error:
        raise _torn(error, path, place) from error
    names = tuple(dict.fromkeys(_global_names(content)))
    try:
        with torch.serialization.safe_globals([(_stand_in(n), n) for n in names if _is_inert(n)]):
            return _load(content)
    except pickle.UnpicklingError as error:
        raise _refusal(names, path, place) from error
    except _TORN as error:
        raise _torn(error, path, place) from error


def _load(content: bytes) -> object:
    """Load the tensors of a file, whose texts may be those of Python 2."""
    with warnings.catch_warnings():
        # What it warns of, another pickle protocol, ends in an error of ours.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except UnicodeDecodeError:
            return torch.load(
                io.BytesIO(content), map_location="cpu", weights_only=True, encoding="latin1"
            )


def _is_inert(name: str) -> bool:
    package = name.partition(".")[0]
    return name in _INERT or package in _INERT_PACKAGES or name == "collections.defaultdict"


def _stand_in(name: str) -> Any:
    """Return what stands for the class or function of this name."""
    last = name.rpartition(".")[2]
    if name == "collections.defaultdict":
        return _empty
    return OrderedDict if last in _MAPPINGS else _Inert


def _empty(*_arguments: object) -> dict[Any, Any]:
    return {}


def _global_names(content: bytes) -> Iterator[str]:
    """Yield the dotted names of the classes and functions that a checkpoint refers to."""
    try:
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                content = archive.read(name)
        stream = io.BytesIO(content)
        for _ in range(_PICKLES):
            for operation, argument, _position in pickletools.genops(stream):
                if operation.name == "GLOBAL":
                    module, _, name = str(argument).partition(" ")
                    yield f"{_MODULES_OF_PYTHON_2.get(module, module)}.{name}"
    except (*_TORN, StopIteration):
        return  # tensors follow the pickles, which are none


def _refusal(names: tuple[str, ...], path: Path, place: str) -> StageError:
    """Return the error for a file that holds more than weights, with what it holds."""
    layers = ("torch.nn.modules.", "torchvision.models.", "timm.")
    others = [n for n in names if not (n.startswith("torch.") or _is_inert(n))]
    refused = [
        n for n in others if not n.startswith(("collections.", "_codecs.", "builtins."))
    ] or list(names)
    if any(name.startswith(layers) for name in names):
        what = "is a whole pickled network, not its weights,"
    else:
        what = "holds more than weights"
    first = ", ".join(refused[:_NAMES]) + (", ..." if len(refused) > _NAMES else "")
    return StageError(
        place,
        f"{what} and is not loaded, since that could run code ({path}: {first or 'no tensors'})",
        "save only the state dict: torch.save(model.state_dict(), FILE) or safetensors",
    )


def _torn(error: BaseException, path: Path, place: str) -> StageError:
    return StageError(
        place,
        f"is truncated or no torch checkpoint ({path}: {first_line(error)})",
        "copy the file again",
    )

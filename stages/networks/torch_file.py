"""Torch checkpoints, read so that none can run code.

`weights_only=True` always holds. Training scripts keep options and figures beside the weights, as
objects of NumPy, argparse, Lightning, their own classes, even whole networks: all of these are read
as inert mappings, so that neither their code nor that of the file runs. What Python's own library
can do to a machine is refused, and so is a file in which nothing else is.
"""

import io
import pickle
import pickletools
import sys
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch

from pipeline import declared_bytes
from pipeline.errors import first_line
from pipeline.stage import StageError
from stages.foreign_files import recognise
from stages.networks.state_dict import has_tensors

_INERT_PACKAGES = frozenset({
    "argparse", "collections", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "pathlib", "random", "typing", "uuid",
})  # fmt: skip
_INERT_OF_TORCH = ("torch.nn.modules.", "torch.optim.", "torch.ao.", "torch.fx.", "torch.amp.")
_INERT = frozenset({
    "builtins.Ellipsis", "builtins.bool", "builtins.complex", "builtins.dict", "builtins.float",
    "builtins.frozenset", "builtins.getattr", "builtins.int", "builtins.list", "builtins.object",
    "builtins.range", "builtins.set", "builtins.slice", "builtins.str", "builtins.tuple",
    "builtins.type", "copyreg._reconstructor", "functools.partial", "logging.Logger",
    "logging.RootLogger", "logging.getLogger", "operator.attrgetter", "operator.itemgetter",
    "re._compile", "types.SimpleNamespace",
})  # fmt: skip
"""Classes and functions of Python's own library that lie beside weights."""
_PICKLES = 5
"""A file of the old format is as many pickles, one after the other."""
_NAMES = 3
_REMEDY = "copy the file again"


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
    declared_bytes.check_archive(content, path, place, _REMEDY)
    try:
        return _load(content)
    except pickle.UnpicklingError:
        pass
    except Exception as error:  # of any class, by where its bytes end or contradict each other
        raise _torn(error, path, place) from error
    names = tuple(dict.fromkeys(_global_names(content)))
    try:
        with torch.serialization.safe_globals([(_stand_in(n), n) for n in names if _is_inert(n)]):
            loaded = _load(content)
    except pickle.UnpicklingError as error:
        raise _refusal(names, path, place) from error
    except Exception as error:  # as above
        raise _torn(error, path, place) from error
    if not has_tensors(loaded):
        raise _refusal(names, path, place)
    return loaded


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
    """Return whether a class or function of this name is stood for by an inert mapping."""
    package = name.partition(".")[0]
    if package == "torch":
        return name.startswith(_INERT_OF_TORCH)
    is_of_python = package in sys.stdlib_module_names
    return name in _INERT or package in _INERT_PACKAGES or not is_of_python


def _stand_in(name: str) -> Any:
    """Return what stands for the class or function of this name."""
    last = name.rpartition(".")[2]
    if name == "collections.defaultdict":
        return _empty
    if name == "collections.deque":
        return _empty_list
    return OrderedDict if last in _MAPPINGS else _Inert


def _empty(*_arguments: object) -> dict[Any, Any]:
    return {}


def _empty_list(*_arguments: object) -> list[Any]:
    return []


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
                    # Pickles of torch have the names of Python 2.
                    module, name = NAME_MAPPING.get((module, name), (module, name))
                    yield f"{IMPORT_MAPPING.get(module, module)}.{name}"
    except Exception:  # noqa: BLE001  (as above)
        return  # tensors follow the pickles, which are none


def _refusal(names: tuple[str, ...], path: Path, place: str) -> StageError:
    """Return the error for a file that holds more than weights, with what it holds."""
    layers = ("torch.nn.modules.", "torchvision.models.", "timm.")
    usual = ("torch._utils.", "torch.storage.", "collections.OrderedDict", "_codecs.")
    others = [n for n in names if not (n.startswith(usual) or n.endswith("Storage"))]
    harmful = [n for n in others if not _is_inert(n)]
    refused = harmful or [n for n in others if not n.startswith("torch.")]
    if not harmful and any(name.startswith(layers) for name in names):
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
    cause = first_line(error).partition(". ")[0]
    return StageError(
        place,
        f"is truncated or no torch checkpoint ({path}: {cause})",
        _REMEDY,
    )

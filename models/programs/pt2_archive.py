"""An archive of torch.export with nothing in it but tensor operators, or the refusal of it.

`torch.export.load` looks its operators up by dotted names, evaluates the texts of sizes, makes
Python code of the names of values, and unpickles constants; all of these can run anything. So they
are read here first, as data, and what torch gets is written anew from what was read.
"""

import io
import json
import pickle
import re
import warnings
from collections.abc import Mapping

import torch

from models.programs import archive, pt2_graph
from models.programs.fault import UnusableProgram

_GRAPH = "models/model.json"
_FOLDERS = ("data/weights/", "data/constants/")
_SAMPLES = "data/sample_inputs/model.pt"
_PLAIN = ("archive_format", "archive_version", "byteorder", "version", ".data/version")
_PAYLOAD = re.compile(r"(weight|tensor)_\d+", re.ASCII)
_OBJECTS = re.compile(r"(^|/)((custom|opaque)_obj_|aotinductor/)", re.IGNORECASE)
_RESAVE = "save it anew with torch.export.save from a program you trust, or give its weights"


def checked(content: bytes) -> bytes:
    """Return an archive that holds nothing but operators on tensors, from one that may.

    Raises:
        UnusableProgram: It is not whole, or holds what could run code or reach files.
    """
    inside = archive.members(content)
    for name in inside:
        if _OBJECTS.search(name):
            raise _harmful(f"objects or compiled code ({name})")
    if _GRAPH not in inside:
        raise UnusableProgram("holds no graph", "save it with torch.export.save")
    safe = {name: inside[name] for name in _PLAIN if name in inside}
    try:
        safe[_GRAPH] = json.dumps(pt2_graph.checked(json.loads(inside[_GRAPH]))).encode()
        for folder in _FOLDERS:
            safe |= _payloads(folder, inside)
        safe[_SAMPLES] = _resaved(_SAMPLES, inside[_SAMPLES])
    except pt2_graph.HarmfulGraph as error:
        raise _harmful(str(error)) from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise archive.damaged() from error
    return archive.packed(safe)


def _payloads(folder: str, inside: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the tensors of a folder with their index; what is no plain value is saved anew."""
    whole = f"{folder}model.pt"  # as older versions wrote them
    if whole in inside:
        return {whole: _resaved(whole, inside[whole])}
    index = f"{folder}model_{folder.split('/')[1]}_config.json"
    config = json.loads(inside[index])["config"]
    is_pickled: dict[str, bool] = {}
    for entry in config.values():
        file, use_pickle = entry["path_name"], bool(entry["use_pickle"])
        if not _PAYLOAD.fullmatch(file) or is_pickled.setdefault(file, use_pickle) != use_pickle:
            raise _harmful(f"pickled objects ({file})")
    payloads = {
        f"{folder}{file}": _resaved(file, inside[f"{folder}{file}"])
        if use_pickle
        else inside[f"{folder}{file}"]
        for file, use_pickle in is_pickled.items()
    }
    return {index: json.dumps({"config": config}).encode(), **payloads}


def _resaved(name: str, content: bytes) -> bytes:
    """Return tensors as torch saves them, from a file that may hold any objects."""
    if not content:
        return content
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what it warns of ends in an error here
            tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _harmful(f"pickled objects ({name})") from error
    except (RuntimeError, EOFError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise archive.damaged(name) from error
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def _harmful(what: str) -> UnusableProgram:
    return UnusableProgram(f"holds {what}, which could run code, and is not loaded", _RESAVE)

"""Whether an archive of torch.export is safe to load: nothing in it may run but tensor operators.

`torch.export.load` looks its operators up by dotted names, evaluates the texts of sizes, and
unpickles constants; all three can run anything. So they are read here first, as data.
"""

import ast
import io
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import torch

from models.programs.fault import UnusableProgram

_GRAPHS = re.compile(r"(^|/)(models/[^/]+|serialized_exported_program)\.json$")
_INDEX = ("_weights_config.json", "_constants_config.json")
_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims)\.\w+(\.\w+)?|_operator\.\w+|math\.\w+|torch\.sym_\w+|torch\._check\w*"
    r"|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)"
)
_REACH_OUT = frozenset({"from_file", "save", "load"})
"""Operators that read or write files."""
_HARMLESS_CALLS = frozenset({
    "Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Mod", "PythonMod", "Max", "Min",
    "Abs", "FloorDiv", "CleanDiv", "CeilDiv", "ModularIndexing", "IntTrueDiv", "FloatTrueDiv",
    "ToFloat", "TruncToInt", "FloorToInt", "CeilToInt", "floor", "ceiling", "Where", "Eq", "Ne",
    "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "Equality", "Unequality", "LessThan",
    "StrictLessThan", "GreaterThan", "StrictGreaterThan", "Piecewise", "Identity",
})  # fmt: skip
_SYNTAX = (
    ast.Expression, ast.Call, ast.Name, ast.Load, ast.keyword, ast.Constant, ast.BinOp, ast.UnaryOp,
    ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Tuple,
)  # fmt: skip
_SIZES = frozenset({"grad", "shape", "size", "storage_offset", "stride"})
_SYMBOL = re.compile(r"[a-z]\w{0,30}")
_RESAVE = "save it anew with torch.export.save from a program you trust, or give its weights"


def check(content: bytes) -> None:
    """Make sure that nothing but operators on tensors is in an archive.

    Raises:
        UnusableProgram: It is not whole, or holds what could run code or reach files.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            raw = {path for name in names for path in _raw_tensors(name, archive)}
            for name in names:
                if name not in raw:
                    _check_member(name, archive.read(name))
    except (
        zipfile.BadZipFile, OSError, ValueError, LookupError, TypeError, RecursionError,
    ) as error:  # fmt: skip
        raise UnusableProgram("is damaged", "copy the file again") from error
    if not any(_GRAPHS.search(name) for name in names):
        raise UnusableProgram("holds no graph", "save it with torch.export.save")


def _raw_tensors(name: str, archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield the files that an index of tensors says to be plain values, which nothing unpickles."""
    if not name.endswith(_INDEX):
        return
    folder = name.rpartition("/")[0]
    pickled: set[str] = set()
    plain: set[str] = set()
    for entry in json.loads(archive.read(name))["config"].values():
        (pickled if entry["use_pickle"] else plain).add(f"{folder}/{entry['path_name']}")
    yield from plain - pickled


def _check_member(name: str, content: bytes) -> None:
    base = name.rpartition("/")[2]
    if base.startswith(("custom_obj_", "opaque_obj_")) or "/aotinductor/" in f"/{name}":
        raise _harmful(f"objects or compiled code ({name})")
    if _GRAPHS.search(name):
        program = json.loads(content)
        for key, value in _walk(program):
            _check_value(key, value)
        for guard in program.get("guards_code") or ():
            if not _is_guard(guard):
                raise _harmful(f"the guard {guard[:60]}")
    elif content[:1] == b"\x80" or content[:2] == b"PK":
        _check_tensors(name, content)


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key of nested mappings with its value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)


def _check_value(key: str, value: Any) -> None:
    if key == "target" and isinstance(value, str):
        is_known = _OPERATORS.fullmatch(value)
        if not is_known or not _REACH_OUT.isdisjoint(value.split(".")):
            raise _harmful(f"the operator {value}")
    elif key == "expr_str" and isinstance(value, str) and not _is_size(value):
        raise _harmful(f"the expression {value[:60]}")
    elif key in ("as_custom_obj", "as_operator") and value is not None:
        raise _harmful(key.removeprefix("as_").replace("_", " "))


def _is_size(text: str) -> bool:
    """Return whether a text computes a size from symbols and numbers, and nothing else."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError):
        return False
    calls = {id(node.func): node.func for node in nodes if isinstance(node, ast.Call)}
    if not all(isinstance(f, ast.Name) and f.id in _HARMLESS_CALLS for f in calls.values()):
        return False
    for node in nodes:
        if not isinstance(node, _SYNTAX):
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if not _SYMBOL.fullmatch(node.value):
                return False
        elif isinstance(node, ast.Name) and id(node) not in calls and "__" in node.id:
            return False
    return True


def _is_guard(text: str) -> bool:
    """Return whether a text compares the sizes of inputs with numbers, and does nothing else."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError):
        return False
    for node in nodes:
        if not isinstance(node, (*_SYNTAX, ast.Subscript, ast.Attribute)):
            return False
        if isinstance(node, ast.Attribute) and node.attr not in _SIZES:
            return False
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Attribute):
            return False
    return True


def _check_tensors(name: str, content: bytes) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what it warns of ends in an error here
            torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _harmful(f"pickled objects ({name})") from error
    except (RuntimeError, EOFError, LookupError, AttributeError, TypeError) as error:
        raise UnusableProgram(f"is damaged ({name})", "copy the file again") from error


def _harmful(what: str) -> UnusableProgram:
    return UnusableProgram(f"holds {what}, which could run code, and is not loaded", _RESAVE)

"""The graph of a torch.export archive, as data: every text in it is what it should be, or refused.

Names become Python code: of arguments, of variables, of attributes. Sizes are evaluated, types of
structures are imported. So a text is a name of letters, digits and dots, unless its key says else.
"""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims)\.\w+\.\w+|math\.[a-z]\w*|torch\.sym_\w+|torch\._check(_is_size)?"
    r"|_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge"
    r"|and_|or_|not_|xor|lshift|rshift)"
    r"|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)",
    re.ASCII,
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
_SYMBOL = re.compile(r"[a-z]\w{0,30}", re.ASCII)
_SIZE = re.compile(r"[\w\s'(),.=<>!&|~+\-*/%]*(?<!\\)", re.ASCII)
_NAME = re.compile(r"(?!(.*\.)?__)[\w.]*", re.ASCII)
"""Of values, tensors and arguments; none that Python keeps for itself."""
_PROSE = re.compile(r"[^'\"\\\r\n]*")
"""An argument in text, as of einsum."""
_NOT_READ = frozenset({"metadata", "guards_code", "torch_version"})
"""What torch resolves, runs, or says nothing of the graph with; it is left out."""
_IMPORTS = "collections.defaultdict"
"""Of structures the one that names a module to be imported."""
_INFINITE = "-Infinity"


class HarmfulGraph(ValueError):
    """A graph holds what could run code; the text says what."""


def checked(program: dict[str, Any]) -> dict[str, Any]:
    """Return a graph without what torch would run of it beside its operators.

    Raises:
        HarmfulGraph: Something in it is no operator on tensors, no size or no name.
    """
    cleaned: dict[str, Any] = _without_notes(program)
    calls = cleaned["graph_module"]["module_call_graph"]
    del calls[1:]  # the first is of the network itself; the others say nothing of what it computes
    for key, text in _texts("", cleaned):
        _check_text(key, text)
    return cleaned


def _without_notes(value: Any) -> Any:
    """Return nested mappings anew, with nothing under the keys that only describe."""
    if isinstance(value, dict):
        return {
            key: _empty(inner) if key in _NOT_READ else _without_notes(inner)
            for key, inner in value.items()
        }
    return [_without_notes(inner) for inner in value] if isinstance(value, list) else value


def _empty(value: Any) -> Any:
    return None if value is None else type(value)()


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield every text with the key that it stands under; keys are names themselves."""
    if isinstance(value, dict):
        for inner_key, inner in value.items():
            if inner_key in ("as_custom_obj", "as_operator") and inner is not None:
                raise HarmfulGraph(inner_key.removeprefix("as_").replace("_", " "))
            yield "", inner_key
            yield from _texts(inner_key, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(key, inner)
    elif isinstance(value, str):
        yield key, value


def _check_text(key: str, text: str) -> None:
    if key == "target":
        if not _OPERATORS.fullmatch(text) or not _REACH_OUT.isdisjoint(text.split(".")):
            raise HarmfulGraph(f"the operator {text[:60]}")
    elif key == "expr_str":
        if not _is_size(text):
            raise HarmfulGraph(f"the expression {text[:60]}")
    elif key in ("in_spec", "out_spec"):
        if not _is_structure(text):
            raise HarmfulGraph(f"the structure {text[:60]}")
    elif key in ("as_string", "as_strings"):
        if not _PROSE.fullmatch(text):
            raise HarmfulGraph(f"the text {text[:60]}")
    elif not _NAME.fullmatch(text) and text != _INFINITE:
        raise HarmfulGraph(f"the name {text[:60]}")


def _is_size(text: str) -> bool:
    """Return whether a text computes a size from symbols and numbers, and nothing else.

    sympy takes the ends of lines out before it reads a text, so what is in lines is refused.
    """
    if not _SIZE.fullmatch(text) or "\n" in text or "\r" in text:
        return False
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


def _is_structure(value: Any) -> bool:
    """Return whether a text, itself of nested JSON, has names alone and no type that imports."""
    if isinstance(value, str):
        if _NAME.fullmatch(value):
            return value != _IMPORTS
        try:
            inner = json.loads(value)
        except ValueError:
            return False
        return not isinstance(inner, str) and _is_structure(inner)
    if isinstance(value, dict):
        return all(_is_structure(key) and _is_structure(inner) for key, inner in value.items())
    return all(map(_is_structure, value)) if isinstance(value, list) else True

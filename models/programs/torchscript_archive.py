"""A TorchScript archive whose code calls nothing but operators on tensors, or the refusal of it.

Its code runs in an interpreter of its own that knows no Python, but some operators read and write
files, and code may run as early as loading. So the archive's own sources are read here first, and
what torch gets is written anew from what was read.
"""

import ast
import re
from collections.abc import Iterator

from models.programs import archive
from models.programs.fault import UnusableProgram

_FILES = frozenset({"from_file", "save"})
"""Functions that read or write files; nothing may be called so, since a module has other names."""
_REACH_OUT = _FILES | {"load", "wait", "fork"}
_TASKS = frozenset({"fork", "awaitable", "rpc_sync", "rpc_async", "rpc_remote"})
_NAMESPACES = frozenset({"prim", "aten", "torchvision", "profiler"})
"""Of operators that only compute; those of quantized networks have no gradients."""
_BUILT_IN = frozenset({"torch", "ops", "getattr"})
"""Names that may not be given to a variable, by which their functions would go unseen."""
_KEPT = re.compile(
    r"(data|constants)(\.pkl|/\w+)|code/[\w./]+\.py|version|byteorder|\.data/version", re.ASCII
)
_NEEDED = ("data.pkl", "constants.pkl")
_CLASSES = re.compile(rb"torch[.\n]classes")
"""Objects of torch's own classes."""


def checked(content: bytes) -> bytes:
    """Return an archive whose code calls operators on tensors alone, from one that may.

    Raises:
        UnusableProgram: It is not whole, or calls what could reach files or has no gradient.
    """
    inside = archive.members(content)
    safe = {name: member for name, member in inside.items() if _KEPT.fullmatch(name)}
    if not all(name in safe for name in _NEEDED):
        raise archive.damaged()
    for name, member in safe.items():
        if name in _NEEDED and _CLASSES.search(member):
            raise _refused("objects of torch.classes")
        if name.endswith(".py"):
            _check_source(name, member)
    return archive.packed(safe)


def _check_source(name: str, source: bytes) -> None:
    try:
        tree = ast.parse(source.decode())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnusableProgram(
            f"holds code that cannot be read beforehand ({name})", "give it as ONNX"
        ) from error
    for called in _called(tree):
        _check_call(called)
    _check_by_name(tree)


def _called(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names of all that a source refers to, outermost first.

    The first is empty where what comes before the dots is no name.
    """
    for node in ast.walk(tree):
        parts: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if parts:
            yield (inner.id if isinstance(inner, ast.Name) else "", *parts)


def _check_call(called: tuple[str, ...]) -> None:
    is_built_in = called[0] in _BUILT_IN
    if called[-1] in _FILES or (is_built_in and called[-1] in _REACH_OUT):
        raise _refused(".".join(called))
    if called[:3] == ("__torch__", "torch", "classes"):
        raise _refused(".".join(called))
    if called[0] == "ops" and called[1] not in _NAMESPACES:
        raise UnusableProgram(
            f"calls {'.'.join(called)}, an operator without gradient or of another library",
            "give the network in float, of torch's own operators",
        )


def _check_by_name(tree: ast.AST) -> None:
    """Make sure that functions are called by names that can be seen, and start no tasks."""
    seen = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in _TASKS:
            raise _refused(node.func.id)
        if node.func.id == "getattr" and len(node.args) > 1:
            attribute = node.args[1]
            if not isinstance(attribute, ast.Constant) or attribute.value in _REACH_OUT:
                raise _refused(ast.unparse(node)[:60])
            seen.add(id(node.func))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in _BUILT_IN and id(node) not in seen:
            raise _refused(f"{node.id} by another name")


def _refused(what: str) -> UnusableProgram:
    return UnusableProgram(
        f"calls {what}, which can reach files, and is not loaded",
        "script the network without it, or give its weights",
    )

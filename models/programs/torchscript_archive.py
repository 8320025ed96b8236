"""Whether a TorchScript archive is safe to load: its code calls nothing but operators on tensors.

Its code runs in an interpreter of its own that knows no Python, but some operators read and write
files, and code may run as early as loading. So the archive's own sources are read here first.
"""

import ast
import io
import zipfile
from collections.abc import Iterator

from models.programs.fault import UnusableProgram

_REACH_OUT = frozenset({"from_file", "save", "load", "wait", "fork"})
"""Functions of TorchScript that read or write files, or start tasks."""
_NAMESPACES = frozenset({"prim", "aten", "torchvision", "profiler"})
"""Of operators that only compute; those of quantized networks have no gradients."""
_SOURCE = "/code/"


def check(content: bytes) -> None:
    """Make sure that the code of an archive calls operators on tensors alone.

    Raises:
        UnusableProgram: It is not whole, or calls what could reach files or has no gradient.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sources = {
                name: archive.read(name).decode()
                for name in archive.namelist()
                if _SOURCE in name and name.endswith(".py")
            }
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError) as error:
        raise UnusableProgram("is damaged", "copy the file again") from error
    for name, source in sources.items():
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise UnusableProgram(
                f"holds code that cannot be read beforehand ({name})", "give it as ONNX"
            ) from error
        for called in _called(tree):
            _check_call(called)


def _called(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names of all that a source refers to, outermost first."""
    for node in ast.walk(tree):
        parts: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and parts:
            yield (inner.id, *parts)


def _check_call(called: tuple[str, ...]) -> None:
    if called[0] == "torch" and called[-1] in _REACH_OUT:
        raise UnusableProgram(
            f"calls {'.'.join(called)}, which can reach files, and is not loaded",
            "script the network without it, or give its weights",
        )
    if called[0] == "ops" and called[1] not in _NAMESPACES:
        raise UnusableProgram(
            f"calls {'.'.join(called)}, an operator without gradient or of another library",
            "give the network in float, of torch's own operators",
        )

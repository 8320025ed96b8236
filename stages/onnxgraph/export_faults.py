"""Why torch cannot export a network, in one line: which operator, at which line of whose file."""

import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

import stages
from pipeline.stage import StageError

BY_VALUES = (
    "decide by tensor operations (torch.where, clamp) instead of Python's if, item(), tolist() "
    "or numpy()"
)
_REPLACE = "write that part of the network with other operations"
_OURS = Path(stages.__file__).parents[1]
_FOREIGN = ("torch", "onnxscript", "onnx", "onnx_ir")
_OPERATOR = re.compile(
    r"No ONNX function found for <OpOverload\(op='([\w.:]+)'|"
    r"(?:operator|namespace) '?([\w]+::[\w]+)|operator (\w+),"
)
_BY_VALUES = re.compile(
    r"GuardOnDataDependent|data-dependent|DataDependentOutput|UserError.*control flow|FakeTensor"
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m|[\u2600-\u27ff\ufe0f\U0001f300-\U0001faff]")
_LONGEST = 200


def explain(
    error: BaseException,
    network: nn.Module,
    arch: str,
    capture: Callable[[nn.Module, Tensor], ExportedProgram],
    example: Tensor,
) -> StageError:
    """Return the error of ours for what an exporter raised.

    Args:
        error: What it raised.
        network: The network that it was to export.
        arch: How the network is named.
        capture: Gives the network as a program, whose nodes know where they come from.
        example: Images for it.
    """
    scripted = [n for n, m in network.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    if scripted:
        return StageError(
            "export",
            f"{arch} holds TorchScript, of which no exporter makes ONNX ({scripted[0]})",
            "return the module as Python has it, without torch.jit.script, trace or load",
        )
    chain = list(_chain(error))
    text = "\n".join(f"{type(link).__name__}: {link}" for link in chain)
    place = _place(chain)
    if match := _OPERATOR.search(text):
        operator = next(filter(None, match.groups()))
        place = _place_of_operator(operator, network, capture, example) or place
        wrong = f"the exporter has no ONNX for {operator}"
        return StageError("export", f"{wrong} ({place or arch})", _REPLACE)
    if _BY_VALUES.search(text):
        wrong = "the graph depends on the values of the images, not on their shape alone"
        return StageError("export", f"{wrong} ({place or arch})", BY_VALUES)
    cause = chain[-1]
    summary = f"{type(cause).__name__}: {_first_line(cause)}"
    return StageError(
        "export",
        f"torch cannot export {arch} ({f'{place}: ' if place else ''}{summary})",
        _REPLACE,
    )


def short_place(file: str, line: int) -> str:
    """Return `file.py:line`, for a package's file with the package's folders."""
    path = Path(file)
    for root in map(Path, _library_paths()):
        if path.is_relative_to(root):
            return f"{path.relative_to(root)}:{line}"
    return f"{path.name}:{line}"


def _library_paths() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return paths["purelib"], paths["platlib"]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its causes, the first cause last."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_of_others(file: str) -> bool:
    """Return whether a source file is a user's, or of a library of networks."""
    path = Path(file)
    if not path.suffix or file.startswith("<"):
        return False
    libraries = [Path(root) for root in _library_paths()]
    for root in libraries:
        if path.is_relative_to(root):
            return path.relative_to(root).parts[0] not in _FOREIGN
    ours = any(path.is_relative_to(_OURS / name) for name in ("models", "pipeline", "stages"))
    standard = path.is_relative_to(sysconfig.get_paths()["stdlib"])
    return not ours and not standard and Path(sys.prefix) not in path.parents


def _place(chain: list[BaseException]) -> str | None:
    """Return the innermost line outside torch and ours at which a chain was raised."""
    for error in reversed(chain):
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if frame.lineno and is_of_others(frame.filename):
                return short_place(frame.filename, frame.lineno)
    return None


def _place_of_operator(
    operator: str,
    network: nn.Module,
    capture: Callable[[nn.Module, Tensor], ExportedProgram],
    example: Tensor,
) -> str | None:
    """Return where a network calls an operator: a line, or the layer of torch's that does."""
    name = re.split(r"[.:]+", operator)[-1]
    try:
        nodes = capture(network, example).graph.nodes
    except Exception:  # noqa: BLE001  (the place is a help; without it the message still stands)
        return None
    for node in nodes:
        if node.op != "call_function" or name not in str(node.target):
            continue
        lines = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
        for file, line in reversed(lines):
            if is_of_others(file):
                return short_place(file, int(line))
        layers = [layer for layer, _ in (node.meta.get("nn_module_stack") or {}).values()]
        if layers:
            layer = layers[-1].removeprefix("L['self'].").removeprefix("backbone.")
            kind = type(_layer(network, layers[-1])).__name__
            return f"layer {layer}, {kind}"
    return None


def _layer(network: nn.Module, name: str) -> nn.Module | None:
    try:
        return network.get_submodule(name)
    except AttributeError:
        return None


def _first_line(error: BaseException) -> str:
    lines = (_ANSI.sub("", line).strip() for line in str(error).splitlines())
    line = next(filter(None, lines), "no message")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."

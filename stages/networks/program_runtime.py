"""A program in its own runtime, with which the module that madpipe makes of it is compared.

Shape legend: B batch, C channel, H W space.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.programs import pt2_archive, torchscript, torchscript_archive
from models.programs.kinds import ProgramKind
from pipeline.errors import error_summary
from pipeline.stage import StageError
from stages.engines.ort import OrtSession
from stages.networks import adapt

_TOLERANCE = 1e-3
"""Of the largest output."""
_HALF_TOLERANCE = 2e-2
"""The same where the file computes in half precision."""
_NAMES = {"onnx": "ONNX Runtime", "torchscript": "torch.jit", "pt2": "torch.export"}
_NUMPY_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}  # fmt: skip


def check(
    path: Path,
    kind: ProgramKind,
    network: Callable[[Tensor], Any],
    x_BCHW: Tensor,
    *,
    layout: str,
    output: str | None,
) -> str:
    """Compare a module with the runtime of its file on images as the file takes them.

    Args:
        path: The file.
        kind: Its format.
        network: What was made of it; takes BCHW and gives what the file gives.
        x_BCHW: Images in the range of the file; whole numbers where it takes bytes.
        layout: `NCHW` or `NHWC`, as `network` was made of the file.
        output: Of an ONNX file the output with the logits; None: its only one.

    Returns:
        A note that says how far they differ.

    Raises:
        StageError: They differ by more than rounding, or the file does not run.
    """
    try:
        own = list(_RUNTIMES[kind](path, x_BCHW, layout, output))
    except Exception as error:  # of many classes, of any runtime
        raise StageError(
            "teacher.weights",
            f"does not run in {_NAMES[kind]} ({path.name}: {error_summary(error)})",
            "export it again, and see that it runs there",
        ) from error
    try:
        ours = _with_gradients(network, x_BCHW)
    except RuntimeError as error:
        raise StageError(
            "teacher.weights",
            f"runs in {_NAMES[kind]}, and not here on a batch of {len(x_BCHW)} ({path.name}: "
            f"{error_summary(error)})",
            "export it with a dynamic batch",
        ) from error
    is_half = any(tensor.dtype == torch.float16 for tensor in own)
    pairs = zip(ours, (tensor.float() for tensor in own), strict=True)
    difference = max(
        float((a.float() - b.reshape(a.shape)).abs().max() / b.abs().max().clamp(min=1e-6))
        for a, b in pairs
    )
    if not difference <= (_HALF_TOLERANCE if is_half else _TOLERANCE):
        raise StageError(
            "teacher.weights",
            f"gives other outputs in {_NAMES[kind]} than here ({path.name}: they differ by "
            f"{difference:.2g} of the largest)",
            "give it in another format: .pt2, TorchScript or ONNX, or its weights",
        )
    return (
        f"{path.name} gives the same here as in {_NAMES[kind]} on {len(x_BCHW)} random images "
        f"(they differ by {difference:.1g} of the largest output)"
    )


def _with_gradients(network: Callable[[Tensor], Any], x_BCHW: Tensor) -> list[Tensor]:
    """Return the outputs as images are made by; without gradients a script runs by itself."""
    with torch.enable_grad():
        outputs = network(x_BCHW.detach().requires_grad_())
    return [tensor.detach() for tensor in _tensors(outputs)]


def _tensors(output: object) -> list[Tensor]:
    """Return the tensors of an output in their order."""
    return [tensor for _, tensor in adapt.tensors_of(output)]


def _onnx(path: Path, x_BCHW: Tensor, layout: str, output: str | None) -> Iterator[Tensor]:
    session = OrtSession(path).session
    images = session.get_inputs()[0]
    outputs = [output or session.get_outputs()[0].name]
    x = x_BCHW.numpy()
    is_channels_first = images.shape[1] in (x.shape[1], None) or isinstance(images.shape[1], str)
    if not is_channels_first or (layout == "NHWC" and images.shape[3] == x.shape[1]):
        x = x.transpose(0, 2, 3, 1)
    x = np.ascontiguousarray(x.astype(_NUMPY_TYPES[images.type]))
    batch = images.shape[0] if isinstance(images.shape[0], int) else len(x)
    parts = [
        session.run(outputs, {images.name: _filled(x[first : first + batch], batch)})[0]
        for first in range(0, len(x), batch)
    ]
    yield torch.from_numpy(np.concatenate(parts)[: len(x)])


def _filled(x: Any, batch: int) -> Any:
    """Return a batch of a fixed length, the last image repeated."""
    return np.concatenate([x, np.repeat(x[-1:], batch - len(x), axis=0)])


def _torchscript(path: Path, x_BCHW: Tensor, layout: str, output: str | None) -> Iterator[Tensor]:  # noqa: ARG001
    script = torchscript.load_script(torchscript_archive.checked(path.read_bytes()))
    with torch.no_grad():
        yield from _tensors(script(x_BCHW))


def _pt2(path: Path, x_BCHW: Tensor, layout: str, output: str | None) -> Iterator[Tensor]:  # noqa: ARG001
    content = pt2_archive.checked(path.read_bytes())
    program = torch.export.load(io.BytesIO(content))
    network = program.module(check_guards=False)  # guards would be made code
    x = x_BCHW.permute(0, 2, 3, 1) if layout == "NHWC" else x_BCHW
    name = program.graph_signature.user_inputs[0]
    value = next(n for n in program.graph.nodes if n.name == name).meta["val"]
    x = x.to(value.dtype)
    batch = value.shape[0] if isinstance(value.shape[0], int) else len(x)
    parts = []
    with torch.no_grad():
        for first in range(0, len(x), batch):
            part = x[first : first + batch]
            part = torch.cat([part, part[-1:].expand(batch - len(part), *part.shape[1:])])
            parts.append(_tensors(network(part)))
    for tensors in zip(*parts, strict=True):
        yield torch.cat(tensors)[: len(x)]


_RUNTIMES: dict[str, Callable[[Path, Tensor, str, str | None], Iterator[Tensor]]] = {
    "onnx": _onnx,
    "torchscript": _torchscript,
    "pt2": _pt2,
}

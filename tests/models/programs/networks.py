"""A small network with BatchNorm as a file of every kind that holds a program."""

import io
import warnings
from typing import Any

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Two convolutions with BatchNorm, a condition and a view by the size of the batch."""

    def __init__(self, channels: int = 1, classes: int = 4) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Any:
        h = torch.relu(self.norm1(self.conv1(x)))
        if h.shape[2] > 4:
            h = torch.nn.functional.max_pool2d(h, 2)
        h = torch.relu(self.norm2(self.conv2(h)))
        return self.fc(h.mean((2, 3)).view(x.size(0), -1))


def trained(network: nn.Module) -> nn.Module:
    """Return a network with running statistics of its own, in evaluation mode."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return network.eval()


def torchscript(network: nn.Module, x: Tensor | None = None, *, frozen: bool = False) -> bytes:
    """Return a scripted archive, or a traced one where images are given to trace with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script: Any = torch.jit.script(network)
        if x is not None:
            script = torch.jit.trace(network, x)  # type: ignore[no-untyped-call]
        script = torch.jit.freeze(script) if frozen else script
        buffer = io.BytesIO()
        torch.jit.save(script, buffer)
    return buffer.getvalue()


def pt2(network: nn.Module, x: Tensor, *, dynamic: bool = True, decomposed: bool = False) -> bytes:
    """Return an archive of torch.export."""
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    program = torch.export.export(network, (x,), dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program.run_decompositions() if decomposed else program, buffer)
    return buffer.getvalue()


def onnx(
    network: nn.Module, x: Tensor, *, folded: bool = False, dynamic: bool = True, opset: int = 13
) -> bytes:
    """Return an ONNX file, with BatchNorm as nodes or folded into the convolutions."""
    mode = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (x,),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            training=mode,
            do_constant_folding=folded,
            input_names=["images"],
            dynamic_axes={"images": {0: "batch"}} if dynamic else None,
            opset_version=opset,
        )
    return buffer.getvalue()


def onnx_of_export(network: nn.Module, x: Tensor) -> bytes:
    """Return an ONNX file as torch's newer exporter writes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False
        )
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content

"""A network that a file computes by itself, as a module whose state is that file.

Shape legend: B batch, C channel, H W space.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from models.programs import exported_program, torchscript
from models.programs.fault import UnusableProgram
from models.programs.kinds import CONTENT, ProgramKind
from models.programs.moment_tap import MomentTap
from models.programs.onnx_graph import TorchGraph
from models.programs.onnx_shape_operators import UnsupportedNode


class Program(nn.Module):
    """A network from the content of a file; nothing in it learns.

    Its parameters are constants: it has gradients of images alone, and its state dict is the file.
    """

    content: Tensor

    def __init__(
        self, kind: ProgramKind, content: Tensor, *, is_channels_last: bool = False
    ) -> None:
        """Load a program.

        Args:
            kind: The format of the file.
            content: Its bytes, as uint8 of one dimension.
            is_channels_last: Whether the file takes images as BHWC; this module takes BCHW.

        Raises:
            UnusableProgram: It is unsafe, damaged, or holds what has no equivalent here.
        """
        super().__init__()
        self.kind = kind
        self.is_channels_last = is_channels_last
        self.register_buffer(CONTENT, content)
        self.network = _LOADERS[kind](bytes(content.numpy()))
        _make_constant(self.network)

    @property
    def has_moments(self) -> bool:
        """Whether it has a BatchNorm with running statistics."""
        return any(isinstance(module, MomentTap) for module in self.network.modules())

    def without_gradient(self, x_BCHW: Tensor) -> list[str]:
        """Return the nodes of an ONNX file that lose the gradient of images, with operators."""
        x = x_BCHW.permute(0, 2, 3, 1) if self.is_channels_last else x_BCHW
        return self.network.without_gradient(x) if isinstance(self.network, TorchGraph) else []

    @property
    def stored_values(self) -> int:
        """Return how many float values the program holds, but for moments of BatchNorm."""
        taps = [tap for tap in self.network.modules() if isinstance(tap, MomentTap)]
        moments = sum(tap.running_mean.numel() + tap.running_var.numel() for tap in taps)
        floats = [tensor for tensor in self.network.buffers() if tensor.is_floating_point()]
        # What a tap watches is stored in the program as well.
        return sum(tensor.numel() for tensor in floats) - 2 * moments

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002  (torch's signature)
        """Change nothing of what it computes: a program was made in one mode."""
        self.training = mode
        return self

    def forward(self, x_BCHW: Tensor) -> Any:
        """Return what the program gives for images: a tensor, or several in a structure."""
        x = x_BCHW.permute(0, 2, 3, 1) if self.is_channels_last else x_BCHW
        try:
            return self.network(x)
        except UnsupportedNode as error:
            raise UnusableProgram(
                f"holds a node that has no equivalent in torch: {error}",
                "export it with a newer opset, or give it as .pt2",
            ) from error


def content_of(content: bytes) -> Tensor:
    """Return the bytes of a file as the tensor that a `Program` keeps."""
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())


def _onnx(content: bytes) -> TorchGraph:
    try:
        return TorchGraph(onnx.load_from_string(content))
    except UnsupportedNode as error:
        is_quantized = any(word in str(error) for word in ("QLinear", "Integer", "QGemm"))
        raise UnusableProgram(
            f"holds a node that has no equivalent in torch: {error}",
            "give the float network that it was quantized from"
            if is_quantized
            else "export the network without it, or give it as .pt2",
        ) from error


_LOADERS: Mapping[ProgramKind, Callable[[bytes], nn.Module]] = {
    "onnx": _onnx,
    "torchscript": torchscript.load,
    "pt2": exported_program.load,
}


def _make_constant(network: nn.Module) -> None:
    """Let all tensors of a network be buffers that are no part of its state."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach(), persistent=False)
        for name, tensor in list(module.named_buffers(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, tensor, persistent=False)
        # Tensors that an export found in a forward pass are plain attributes.
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                delattr(module, name)
                module.register_buffer(name, value.detach(), persistent=False)

"""torch.compile takes a program as one graph: what is computed of sizes are numbers to it."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.programs.kinds import ProgramKind
from models.programs.program import Program, content_of
from stages.distill.batch_norm import BNStatsLoss
from tests.models.programs import networks

pytestmark = pytest.mark.usefixtures("one_thread")
X_BCHW = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
OTHER_BCHW = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(2))


class Tokens(networks.Net):
    """Attention over tokens with a place each, behind a convolution, as in a vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.rand(1, 1, 6))
        self.qkv = nn.Linear(6, 18)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(self.conv1(x))
        b, c, height, width = h.shape
        h = functional.pad(self.halved(h, (height // 2, width // 2)), [1, 0, 0, 1])
        n = (height // 2 + 1) * (width // 2 + 1)
        tokens = h.reshape(b, c, n).permute(0, 2, 1)
        tokens = torch.cat([self.token.expand(b, -1, -1), tokens], dim=1)
        tokens = tokens + 0.01 * torch.arange(tokens.shape[1], dtype=torch.float32)[:, None]
        parts = self.qkv(tokens).reshape(b, n + 1, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        q, k, v = parts[0], parts[1], parts[2]
        mask = torch.ones(n + 1, n + 1).tril() > 0
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).masked_fill(~mask, -1e9)
        mixed = (weights.softmax(-1) @ v).transpose(1, 2).reshape(b, n + 1, c)
        y: Tensor = self.head(mixed[:, 0] + mixed.mean(1))
        return y

    @staticmethod
    def halved(h: Tensor, size: tuple[int, int]) -> Tensor:
        """Return features of half the size, which Resize makes."""
        return functional.interpolate(h, size=size, mode="nearest")


class Scripted(Tokens):
    """What scripts alone have: a loop, a condition and lists of sizes."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(self.conv1(x)) * torch.tensor([[0.5], [1.5]]).mean(0)
        sizes = [size // 2 for size in h.shape[2:]]
        for size in sizes:
            if size > 1 and sizes[0] % 2 == 0:
                h = h[:, :, : -(size // 2)].transpose(2, 3)
        y: Tensor = self.fc(self.conv2(h).mean((2, 3)).view(len(x), -1))
        return y


Make = Callable[[nn.Module], bytes]
FORMS: dict[str, tuple[ProgramKind, Make, type[nn.Module]]] = {
    "onnx": ("onnx", lambda net: networks.onnx(net, X_BCHW, opset=17), Tokens),
    "onnx of torch.export": ("onnx", lambda net: networks.onnx_of_export(net, X_BCHW), Tokens),
    "pt2": ("pt2", lambda net: networks.pt2(net, X_BCHW), Tokens),
    "traced": ("torchscript", lambda net: networks.torchscript(net, X_BCHW), Tokens),
    "scripted": ("torchscript", networks.torchscript, Scripted),
}


def results(run: nn.Module, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits, and the gradient of images of them and of the moments' distances."""
    x_BCHW = x_BCHW.clone().requires_grad_()
    logits_BK, distances = run(x_BCHW)
    (logits_BK * torch.linspace(1, 2, 4)).sum().add(sum(distances)).backward()
    assert x_BCHW.grad is not None
    return logits_BK.detach(), x_BCHW.grad


@pytest.mark.parametrize("name", FORMS)
def test_a_program_is_one_graph_of_the_same_results(name: str) -> None:
    kind, make, network = FORMS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = make(networks.trained(network()))
    run = BNStatsLoss(Program(kind, content_of(content)).eval())
    wanted = [results(run, x_BCHW) for x_BCHW in (X_BCHW, OTHER_BCHW)]
    torch.compiler.reset()
    run.compile(backend="eager", fullgraph=True, dynamic=False)
    for x_BCHW, logits_and_gradient in zip((X_BCHW, OTHER_BCHW), wanted, strict=True):
        torch.testing.assert_close(results(run, x_BCHW), logits_and_gradient)
    torch.compiler.reset()

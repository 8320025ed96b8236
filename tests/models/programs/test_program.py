"""A file without code gives the outputs, gradients and moments of the network that it is of."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models.programs.fault import UnusableProgram
from models.programs.kinds import CONTENT, ProgramKind
from models.programs.moment_tap import MomentTap
from models.programs.program import Program, content_of
from stages.distill.batch_norm import BNStatsLoss
from tests.models.programs import networks
from tests.models.programs.networks import Net

pytestmark = pytest.mark.usefixtures("one_thread")
X_BCHW = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
Y_BCHW = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(2))
Make = Callable[[nn.Module], bytes]
FORMS: dict[str, tuple[ProgramKind, Make]] = {
    "scripted": ("torchscript", networks.torchscript),
    "traced": ("torchscript", lambda net: networks.torchscript(net, X_BCHW)),
    "exported": ("pt2", lambda net: networks.pt2(net, X_BCHW)),
    "fixed batch": ("pt2", lambda net: networks.pt2(net, X_BCHW, dynamic=False)),
    "decomposed": ("pt2", lambda net: networks.pt2(net, X_BCHW, decomposed=True)),
    "onnx": ("onnx", lambda net: networks.onnx(net, X_BCHW)),
}


def program(name: str, network: nn.Module) -> Program:
    kind, make = FORMS[name]
    return Program(kind, content_of(make(network))).eval()


def gradient(network: nn.Module, x_BCHW: Tensor) -> Tensor:
    x_BCHW = x_BCHW.clone().requires_grad_()
    (network(x_BCHW) * torch.linspace(1, 2, 4)).sum().backward()
    assert x_BCHW.grad is not None
    return x_BCHW.grad


@pytest.mark.parametrize("name", FORMS)
def test_outputs_and_gradients_are_the_networks_own_for_any_batch(name: str) -> None:
    network = networks.trained(Net())
    loaded = program(name, network)
    with torch.no_grad():
        torch.testing.assert_close(loaded(Y_BCHW), network(Y_BCHW), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        gradient(loaded, Y_BCHW), gradient(network, Y_BCHW), rtol=1e-4, atol=1e-6
    )
    copied = copy.deepcopy(loaded)
    torch.testing.assert_close(gradient(copied, Y_BCHW), gradient(loaded, Y_BCHW))


@pytest.mark.parametrize("name", FORMS)
def test_the_distance_of_moments_is_that_of_the_networks_batch_norm(name: str) -> None:
    network = networks.trained(Net())
    loaded = program(name, network)
    assert loaded.has_moments
    _, own = BNStatsLoss(network)(Y_BCHW)
    _, distances = BNStatsLoss(loaded)(Y_BCHW.clone().requires_grad_())
    assert len(own) == 2
    torch.testing.assert_close(torch.stack(distances), torch.stack(own), rtol=1e-4, atol=1e-5)


def test_a_batch_norm_that_is_written_out_is_seen() -> None:
    class WrittenOut(Net):
        def forward(self, x: Tensor) -> Tensor:
            norm, h = self.norm1, self.conv1(x)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            centred = h - norm.running_mean[None, :, None, None]
            scale = torch.rsqrt(norm.running_var + norm.eps)[None, :, None, None]
            h = centred * scale * norm.weight[:, None, None] + norm.bias[:, None, None]
            y: Tensor = self.fc(self.conv2(h).mean((2, 3)))
            return y

    network = networks.trained(WrittenOut())
    loaded = Program("pt2", content_of(networks.pt2(network, X_BCHW))).eval()
    (tap,) = [module for module in loaded.modules() if isinstance(module, MomentTap)]
    stored = dict(network.named_buffers())
    torch.testing.assert_close(tap.running_mean, stored["norm1.running_mean"])
    torch.testing.assert_close(tap.running_var, stored["norm1.running_var"])


@pytest.mark.parametrize("kind", ["torchscript", "onnx"])
def test_where_batch_norm_was_folded_away_there_are_no_moments(kind: ProgramKind) -> None:
    network = networks.trained(Net())
    if kind == "onnx":
        content = networks.onnx(network, X_BCHW, folded=True)
    else:
        content = networks.torchscript(network, frozen=True)
    loaded = Program(kind, content_of(content))
    assert not loaded.has_moments
    assert BNStatsLoss(loaded).layers == []


def test_the_state_of_a_program_is_its_file_and_nothing_in_it_learns() -> None:
    content = networks.pt2(networks.trained(Net()), X_BCHW)
    loaded = Program("pt2", content_of(content))
    assert list(loaded.state_dict()) == [CONTENT]
    assert bytes(loaded.state_dict()[CONTENT].numpy()) == content
    assert not list(loaded.parameters())
    own = sum(parameter.numel() for parameter in Net().parameters())
    assert loaded.stored_values == own


def test_channels_that_come_last_are_moved_there() -> None:
    class Last(Net):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = super().forward(x.permute(0, 3, 1, 2))
            return y

    network = networks.trained(Last())
    content = networks.pt2(network, X_BCHW.permute(0, 2, 3, 1).contiguous())
    loaded = Program("pt2", content_of(content), is_channels_last=True)
    torch.testing.assert_close(loaded(Y_BCHW), network(Y_BCHW.permute(0, 2, 3, 1)))


def test_a_program_in_training_mode_is_refused() -> None:
    content = networks.pt2(Net().train(), X_BCHW)
    with pytest.raises(UnusableProgram, match=r"as in training.*model\.eval"):
        Program("pt2", content_of(content))


def test_a_loop_and_lists_of_a_script_are_run() -> None:
    class Looping(Net):
        def forward(self, x: Tensor) -> Tensor:
            parts: list[Tensor] = []
            for number in range(x.shape[1] + 1):
                parts.append(self.norm1(self.conv1(x)) * (number + 1))  # noqa: PERF401  (scripted)
            y: Tensor = self.fc(self.conv2(torch.stack(parts).sum(0)).mean((2, 3)))
            return y

    network = networks.trained(Looping())
    loaded = Program("torchscript", content_of(networks.torchscript(network)))
    torch.testing.assert_close(gradient(loaded, Y_BCHW), gradient(network, Y_BCHW))

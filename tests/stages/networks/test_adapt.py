"""Networks that return more than logits, and SyncBatchNorm."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, fx, nn

from stages.networks import adapt


@dataclass
class Outputs:
    """As transformers return them."""

    hidden: Tensor
    logits: Tensor


class Head(nn.Module):
    """A network of 3 classes whose outputs are packed in some way."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.kind = kind

    def forward(self, x_BC: Tensor) -> object:
        logits_BK = self.fc(x_BC)
        match self.kind:
            case "tuple":
                return x_BC, logits_BK, -logits_BK
            case "mapping":
                return {"aux": -logits_BK, "logits": logits_BK}
            case "object":
                return Outputs(x_BC, logits_BK)
            case "nested":
                return [x_BC, {"out": logits_BK}]
            case _:
                return (logits_BK, x_BC) if self.training else logits_BK


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("tuple", "[1]"), ("mapping", ".logits"), ("object", ".logits"), ("nested", "[1].out")],
)
def test_logits_are_taken_from_what_a_network_returns(kind: str, wanted: str) -> None:
    network, x_BC = Head(kind), torch.rand(2, 4)
    names = list(network.state_dict())
    assert adapt.return_logits(network, network(x_BC), 3) == wanted
    assert torch.equal(network(x_BC), network.fc(x_BC))
    assert list(network.state_dict()) == names
    assert torch.equal(fx.symbolic_trace(network)(x_BC), network.fc(x_BC))


def test_another_output_in_training_is_seen_without_changing_the_network() -> None:
    network, x_BC = Head("training").eval(), torch.rand(2, 4)
    output = adapt.training_output(network, x_BC, None)
    assert isinstance(output, tuple)
    assert not network.training
    adapt.return_logits(network, output, 3)
    for mode in (True, False):
        assert torch.equal(network.train(mode)(x_BC), network.fc(x_BC))


def test_without_logits_a_network_stays_as_it_is() -> None:
    network = Head("tuple")
    assert adapt.return_logits(network, network(torch.rand(2, 4)), 5) is None
    assert type(network) is Head


def test_sync_batch_norm_becomes_batch_norm_of_the_same_tensors() -> None:
    network = nn.Sequential(
        nn.SyncBatchNorm(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.SyncBatchNorm(3, eps=0.1)
    ).eval()
    before = network.state_dict()
    x_BCHW = torch.rand(2, 3, 4, 4)
    wanted_BC = network(x_BCHW)
    adapt.replace_sync_batch_norm(network, x_BCHW)
    assert [type(layer) for layer in network][::3] == [nn.BatchNorm2d, nn.BatchNorm1d]
    assert network.state_dict().keys() == before.keys()
    assert torch.equal(network(x_BCHW), wanted_BC)


def test_networks_of_half_and_double_precision_become_fp32() -> None:
    assert adapt.to_float32(nn.Linear(2, 2).half())
    assert adapt.to_float32(nn.Linear(2, 2).double())
    assert not adapt.to_float32(nn.BatchNorm2d(2))

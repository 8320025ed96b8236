"""Training forms are fused where that changes nothing, and kept where it does."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages.networks.reparameterize import fused

IMAGES_NCHW = np.random.default_rng(0).random((4, 3, 8, 8), dtype=np.float32)


class _Block(nn.Module):
    """A 3x3 and a 1x1 branch, which one convolution can do."""

    def __init__(self, *, scale: float = 1.0) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.single: nn.Conv2d | None = None
        self.scale = scale

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.single is not None:
            single_BCHW: Tensor = self.single(x_BCHW)
            return single_BCHW
        total_BCHW: Tensor = self.wide(x_BCHW) + self.narrow(x_BCHW)
        return total_BCHW

    def switch_to_deploy(self) -> None:
        single = nn.Conv2d(3, 4, 3, padding=1)
        with torch.no_grad():
            single.weight.copy_(self.wide.weight * self.scale)
            single.weight[:, :, 1:2, 1:2] += self.narrow.weight
            single.bias.copy_(self.wide.bias + self.narrow.bias)  # type: ignore[union-attr, operator]
        self.single = single
        del self.wide, self.narrow


def _network(block: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(block, nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)).eval()


def test_blocks_become_their_fused_form_and_the_network_stays_as_it_was() -> None:
    network = _network(_Block())
    deployed, (note,) = fused(network, IMAGES_NCHW)
    assert "switch_to_deploy" in note
    assert sum(1 for _ in deployed.modules()) < sum(1 for _ in network.modules())
    x_BCHW = torch.from_numpy(IMAGES_NCHW)
    torch.testing.assert_close(deployed(x_BCHW), network(x_BCHW), atol=1e-5, rtol=1e-5)


def test_a_fusion_that_changes_the_logits_is_not_used_and_said() -> None:
    network = _network(_Block(scale=2.0))
    same, (note,) = fused(network, IMAGES_NCHW)
    assert same is network
    assert "fusing changes a logit" in note


def test_a_fusion_that_raises_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: _Block) -> None:
        raise RuntimeError

    monkeypatch.setattr(_Block, "switch_to_deploy", fail)
    same, (note,) = fused(network := _network(_Block()), IMAGES_NCHW)
    assert same is network
    assert "raises RuntimeError" in note


def test_other_networks_stay_as_they_are() -> None:
    network = _network(nn.Conv2d(3, 4, 3, padding=1))
    assert fused(network, IMAGES_NCHW) == (network, ())

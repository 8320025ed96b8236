"""The EMA generator: its formula, its statistics, and looking without moving them."""

import pytest
import torch

from models.generator import Generator
from stages.distill import ema as averaging


def _generator() -> Generator:
    torch.manual_seed(3)
    return Generator(noise_dim=3, image_size_px=8, channels=1, width=4).train()


def test_it_begins_as_a_copy_that_no_gradient_reaches() -> None:
    generator = _generator()
    slow = averaging.copied(generator, "batch")
    assert slow.training
    assert not any(each.requires_grad for each in slow.parameters())
    assert all(each.requires_grad for each in generator.parameters())


@pytest.mark.parametrize("alpha", [0.0, 0.9])
def test_weights_move_by_the_formula(alpha: float) -> None:
    generator = _generator()
    slow = averaging.copied(generator, "batch")
    before = {name: each.clone() for name, each in slow.named_parameters()}
    with torch.no_grad():
        for each in generator.parameters():
            each.add_(1.0)
    averaging.follow(slow, generator, alpha, "batch")
    for name, each in slow.named_parameters():
        torch.testing.assert_close(each, before[name] + (1 - alpha), rtol=1e-5, atol=1e-6)


def test_averaged_statistics_move_by_the_formula_and_are_what_it_normalises_by() -> None:
    generator = _generator()
    slow = averaging.copied(generator, "averaged")
    assert not slow.training
    before = slow.norm.running_mean
    assert before is not None
    before = before.clone()
    generator(torch.randn(16, 3))
    theirs = generator.norm.running_mean
    assert theirs is not None
    averaging.follow(slow, generator, 0.75, "averaged")
    assert slow.norm.running_mean is not None
    torch.testing.assert_close(slow.norm.running_mean, 0.75 * before + 0.25 * theirs)
    z_BZ = torch.randn(8, 3)
    torch.testing.assert_close(slow(z_BZ)[:2], slow(z_BZ[:2]))


def test_untracked_networks_use_their_batch_and_remember_nothing() -> None:
    generator = _generator()
    z_BZ = torch.randn(8, 3)
    before = {name: each.clone() for name, each in generator.state_dict().items()}
    with averaging.untracked(generator), torch.no_grad():
        looked_BCHW = generator(z_BZ)
    assert all(torch.equal(before[name], each) for name, each in generator.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(generator(z_BZ), looked_BCHW)
    assert not torch.equal(before["norm.running_mean"], generator.state_dict()["norm.running_mean"])

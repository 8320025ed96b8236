"""NoiseSampler are seeded, and several processes together throw what one would."""

import torch

from models.generator import Generator
from stages.distill.distributed.group import Group
from stages.distill.sampler import NoiseSampler


class _Together(Group):
    """A group whose place is known without any process group."""

    @property
    def together(self) -> bool:
        return self.size > 1


def _generator(kind: str = "uncond") -> Generator:
    classes = 0 if kind == "uncond" else 7
    return Generator(
        noise_dim=3, image_size_px=8, channels=1, width=4, kind=kind, num_classes=classes
    )


def _dice(kind: str = "uncond", group: Group | None = None) -> NoiseSampler:
    return NoiseSampler(torch.Generator().manual_seed(1), _generator(kind), group or Group())


def test_the_same_seed_throws_the_same() -> None:
    one, other = _dice().throw(4), _dice().throw(4)
    assert torch.equal(one[0], other[0])
    assert one[1] is other[1] is None


def test_two_throws_differ() -> None:
    dice = _dice()
    assert not torch.equal(dice.throw(4)[0], dice.throw(4)[0])


def test_labels_are_thrown_for_a_conditional_generator_over_all_classes() -> None:
    z_BZ, y_B = _dice("sum").throw(500)
    assert z_BZ.shape == (500, 3)
    assert y_B is not None
    assert set(y_B.tolist()) == set(range(7))


def test_the_shares_of_two_processes_make_up_the_batch_of_one() -> None:
    whole_z, whole_y = _dice("cat").throw(6)
    shares = [_dice("cat", _Together(rank, 2)).throw(3) for rank in range(2)]
    assert torch.equal(torch.cat([z for z, _ in shares]), whole_z)
    assert whole_y is not None
    assert torch.equal(torch.cat([y for _, y in shares if y is not None]), whole_y)


def test_steps_are_shared_out_like_noise() -> None:
    whole_2B = _dice().steps(6)
    assert whole_2B.shape == (2, 6)
    assert set(_dice().steps(500).flatten().tolist()) == {0, 1, 2}
    shares = [_dice("uncond", _Together(rank, 2)).steps(3) for rank in range(2)]
    assert torch.equal(torch.cat(shares, dim=1), whole_2B)

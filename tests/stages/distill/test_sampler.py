"""The sampler is seeded, and several processes sample what one would; the memory is a ring."""

import torch

from models.generator import Generator
from stages.distill.distributed.group import Group
from stages.distill.sampler import Memory, NoiseSampler

CPU = torch.device("cpu")


class _Distributed(Group):
    """A group whose place is known without any process group."""

    @property
    def is_distributed(self) -> bool:
        return self.size > 1


def _generator(kind: str = "uncond") -> Generator:
    classes = 0 if kind == "uncond" else 7
    return Generator(
        noise_dim=3, image_size_px=8, channels=1, width=8, kind=kind, num_classes=classes
    )


def _sampler(kind: str = "uncond", group: Group | None = None) -> NoiseSampler:
    return NoiseSampler(torch.Generator().manual_seed(1), _generator(kind), group or Group())


def test_the_same_seed_samples_the_same() -> None:
    one, other = _sampler().sample(4), _sampler().sample(4)
    assert torch.equal(one[0], other[0])
    assert one[1] is other[1] is None


def test_two_samples_differ() -> None:
    sampler = _sampler()
    assert not torch.equal(sampler.sample(4)[0], sampler.sample(4)[0])


def test_labels_are_sampled_for_a_conditional_generator_over_all_classes() -> None:
    z_BZ, y_B = _sampler("sum").sample(500)
    assert z_BZ.shape == (500, 3)
    assert y_B is not None
    assert set(y_B.tolist()) == set(range(7))


def test_the_shares_of_two_processes_make_up_the_batch_of_one() -> None:
    whole_z, whole_y = _sampler("cat").sample(6)
    shares = [_sampler("cat", _Distributed(rank, 2)).sample(3) for rank in range(2)]
    assert torch.equal(torch.cat([z for z, _ in shares]), whole_z)
    assert whole_y is not None
    assert torch.equal(torch.cat([y for _, y in shares if y is not None]), whole_y)


def test_crop_offsets_are_shared_out_like_noise() -> None:
    whole_2B = _sampler().crop_offsets(6, 8)
    assert whole_2B.shape == (2, 6)
    assert set(_sampler().crop_offsets(500, 8).flatten().tolist()) == {0, 1, 2}
    shares = [_sampler("uncond", _Distributed(rank, 2)).crop_offsets(3, 8) for rank in range(2)]
    assert torch.equal(torch.cat(shares, dim=1), whole_2B)


def test_colour_amounts_are_shared_out_like_noise() -> None:
    whole_BA = _sampler().colour_amounts(6)
    assert whole_BA.shape == (6, 2 + _generator("uncond").channels)
    many_BA = _sampler().colour_amounts(500)
    assert -1 <= many_BA.min() < -0.99
    assert 0.99 < many_BA.max() < 1
    shares = [_sampler("uncond", _Distributed(rank, 2)).colour_amounts(3) for rank in range(2)]
    assert torch.equal(torch.cat(shares), whole_BA)


def _image(value: int) -> torch.Tensor:
    return torch.full((1, 1, 2, 2), value / 255)


def _values(memory: Memory) -> set[int]:
    x_BCHW = memory.sample(400, torch.Generator().manual_seed(0))
    return {round(float(value) * 255) for value in x_BCHW[:, 0, 0, 0]}


def test_a_memory_samples_only_what_it_has_seen() -> None:
    memory = Memory(5, (1, 2, 2), CPU)
    for value in (10, 20):
        memory.push(_image(value))
    assert len(memory) == 2
    assert _values(memory) == {10, 20}


def test_the_oldest_images_make_room() -> None:
    memory = Memory(3, (1, 2, 2), CPU)
    for value in range(1, 6):
        memory.push(_image(value))
    assert len(memory) == 3
    assert _values(memory) == {3, 4, 5}


def test_a_push_may_go_round_the_end_of_the_ring() -> None:
    memory = Memory(4, (1, 2, 2), CPU)
    memory.push(torch.cat([_image(value) for value in (1, 2, 3)]))
    memory.push(torch.cat([_image(value) for value in (4, 5, 6)]))
    assert _values(memory) == {3, 4, 5, 6}


def test_a_push_larger_than_the_ring_keeps_what_fits() -> None:
    memory = Memory(2, (1, 2, 2), CPU)
    memory.push(torch.cat([_image(value) for value in (1, 2, 3)]))
    assert _values(memory) == {1, 2}


def test_sampled_images_are_channels_last_and_within_half_a_level() -> None:
    memory = Memory(4, (3, 4, 4), CPU)
    x_BCHW = torch.rand(4, 3, 4, 4)
    memory.push(x_BCHW)
    sampled_BCHW = memory.sample(64, torch.Generator().manual_seed(0))
    assert sampled_BCHW.is_contiguous(memory_format=torch.channels_last)
    nearest = (sampled_BCHW[:, None] - x_BCHW[None]).abs().amax(dim=(2, 3, 4)).amin(dim=1)
    assert nearest.max() <= 0.5 / 255 + 1e-6


def test_the_state_of_a_memory_is_its_images_themselves_and_comes_back() -> None:
    memory = Memory(3, (1, 2, 2), CPU)
    for value in range(1, 6):
        memory.push(_image(value))
    saved = memory.state_dict()
    assert saved["x_NCHW"].data_ptr() == memory.x_NCHW.data_ptr()
    again = Memory(3, (1, 2, 2), CPU)
    again.load_state_dict(saved)
    memory.push(_image(9))
    again.push(_image(9))
    assert _values(again) == _values(memory) == {4, 5, 9}


def test_a_push_of_several_sources_that_is_too_large_keeps_some_of_each() -> None:
    memory = Memory(4, (1, 2, 2), CPU, num_classes=1)
    values = (1, 1, 1, 1, 2, 2, 2, 2)
    x_BCHW = torch.cat([_image(value) for value in values])
    memory.push(x_BCHW, torch.tensor(values, dtype=torch.float32)[:, None])
    assert _values(memory) == {1, 2}
    kept_BCHW, teacher_B1 = memory.sample_pairs(50, torch.Generator().manual_seed(0))
    torch.testing.assert_close(kept_BCHW[:, 0, 0, :1] * 255, teacher_B1)

"""The memory: a ring of uint8 images on the device."""

import torch

from stages.distill.memory import Memory

CPU = torch.device("cpu")


def _image(value: int) -> torch.Tensor:
    return torch.full((1, 1, 2, 2), value / 255)


def _values(memory: Memory) -> set[int]:
    drawn = memory.draw(400, torch.Generator().manual_seed(0))
    return {round(float(each) * 255) for each in drawn[:, 0, 0, 0]}


def test_it_draws_only_what_it_was_shown() -> None:
    memory = Memory(5, (1, 2, 2), CPU)
    for value in (10, 20):
        memory.push(_image(value))
    assert len(memory) == 2
    assert _values(memory) == {10, 20}


def test_the_oldest_make_room() -> None:
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


def test_drawn_images_are_channels_last_and_within_half_a_level() -> None:
    memory = Memory(4, (3, 4, 4), CPU)
    x_BCHW = torch.rand(4, 3, 4, 4)
    memory.push(x_BCHW)
    drawn = memory.draw(64, torch.Generator().manual_seed(0))
    assert drawn.is_contiguous(memory_format=torch.channels_last)
    nearest = (drawn[:, None] - x_BCHW[None]).abs().amax(dim=(2, 3, 4)).amin(dim=1)
    assert nearest.max() <= 0.5 / 255 + 1e-6


def test_its_state_is_the_memory_itself_and_comes_back() -> None:
    memory = Memory(3, (1, 2, 2), CPU)
    for value in range(1, 6):
        memory.push(_image(value))
    saved = memory.state_dict()
    assert saved["x"] is memory._x_NCHW
    again = Memory(3, (1, 2, 2), CPU)
    again.load_state_dict(saved)
    memory.push(_image(9))
    again.push(_image(9))
    assert _values(again) == _values(memory) == {4, 5, 9}

"""Images are moved, mirrored and coloured, every one in its own way."""

import torch

from stages.training.augment import (
    alternating_flip,
    crop_offsets,
    jitter_colours,
    random_shift,
)


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _moved(
    x_BCHW: torch.Tensor, flipped_B: torch.Tensor | None, rng: torch.Generator
) -> torch.Tensor:
    return random_shift(x_BCHW, crop_offsets(len(x_BCHW), x_BCHW.shape[-1], rng), flipped_B)


def _images(count: int = 64, size: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=_rng(9)) + 0.1


def test_every_image_is_a_crop_of_itself_padded_with_black() -> None:
    x_BCHW = _images()
    moved_BCHW = _moved(x_BCHW, None, _rng())
    offsets = set()
    for before_CHW, after_CHW in zip(x_BCHW, moved_BCHW, strict=True):
        padded_CHW = torch.nn.functional.pad(before_CHW, (4,) * 4)
        matches = [
            (top, left)
            for top in range(9)
            for left in range(9)
            if torch.equal(padded_CHW[:, top : top + 32, left : left + 32], after_CHW)
        ]
        assert len(matches) == 1
        offsets.add(matches[0])
    assert len(offsets) > 20  # one offset for all images would be one


def test_each_side_moves_by_an_eighth_of_itself() -> None:
    x_BCHW = torch.zeros(400, 1, 8, 24)
    x_BCHW[:, :, 4, 12] = 1
    moved_BCHW = random_shift(x_BCHW, crop_offsets(len(x_BCHW), (8, 24), _rng()))
    _, _, rows, columns = moved_BCHW.nonzero(as_tuple=True)
    assert set(rows.tolist()) == set(range(3, 6))
    assert set(columns.tolist()) == set(range(9, 16))


def test_a_mirrored_image_is_the_mirror_of_its_crop() -> None:
    x_BCHW = _images()
    plain_BCHW = _moved(x_BCHW, None, _rng())
    chosen_B = torch.arange(64) % 2 == 0
    both_BCHW = _moved(x_BCHW, chosen_B, _rng())
    assert torch.equal(both_BCHW[chosen_B], plain_BCHW[chosen_B].flip(-1))
    assert torch.equal(both_BCHW[~chosen_B], plain_BCHW[~chosen_B])


def test_small_images_move_by_a_pixel_at_most() -> None:
    x_BCHW = torch.zeros(200, 1, 8, 8)
    x_BCHW[:, :, 4, 4] = 1
    places = _moved(x_BCHW, None, _rng()).flatten(1).argmax(dim=1)
    assert set(places.tolist()) == {8 * row + column for row in (3, 4, 5) for column in (3, 4, 5)}


def test_the_result_is_laid_out_channels_last_and_the_offsets_repeat() -> None:
    one, same = (_moved(_images(), None, _rng(3)) for _ in range(2))
    assert torch.equal(one, same)
    assert one.is_contiguous(memory_format=torch.channels_last)


def test_every_image_is_mirrored_in_every_second_epoch() -> None:
    flip_start_N = torch.tensor([True, False, True, False])
    indices_B = torch.tensor([3, 0])
    epochs = [alternating_flip(flip_start_N, indices_B, epoch).tolist() for epoch in range(3)]
    assert epochs == [[False, True], [True, False], [False, True]]


def test_colours_change_by_contrast_brightness_and_channel() -> None:
    x_BCHW = torch.tensor([0.4, 0.6, 0.5, 0.5]).reshape(1, 1, 2, 2).repeat(4, 3, 1, 1)
    amounts_BA = torch.zeros(4, 5)
    amounts_BA[0, 0] = -1.0
    amounts_BA[1, 1] = 0.5
    amounts_BA[2, 3] = 1.0
    jittered_BCHW = jitter_colours(x_BCHW, amounts_BA, 0.4)
    torch.testing.assert_close(jittered_BCHW[0], (x_BCHW[0] - 0.5) * 0.6 + 0.5)
    torch.testing.assert_close(jittered_BCHW[1], x_BCHW[1] + 0.1)
    torch.testing.assert_close(jittered_BCHW[2, 1], x_BCHW[2, 1] + 0.12)
    torch.testing.assert_close(jittered_BCHW[2, ::2], x_BCHW[2, ::2])
    torch.testing.assert_close(jittered_BCHW[3], x_BCHW[3])


def test_jittered_images_stay_images() -> None:
    x_BCHW = torch.rand(64, 3, 8, 8, generator=_rng())
    jittered_BCHW = jitter_colours(x_BCHW, 2 * torch.rand(64, 5, generator=_rng(1)) - 1, 1.0)
    assert jittered_BCHW.min() >= 0
    assert jittered_BCHW.max() <= 1

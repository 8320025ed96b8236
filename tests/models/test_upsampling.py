"""Sizes by doubling, and the widths of the maps on the way."""

import pytest

from models.upsampling import map_widths, start_size


@pytest.mark.parametrize(
    ("size", "start", "doublings"),
    [(8, 2, 2), (16, 4, 2), (28, 7, 2), (32, 8, 2), (64, 8, 3), (96, 6, 4), (224, 7, 5)],
)
def test_an_image_is_made_by_doubling_a_small_map(size: int, start: int, doublings: int) -> None:
    assert start_size(size) == ((start, start), doublings)
    assert start * 2**doublings == size


@pytest.mark.parametrize(("size", "larger"), [(10, 12), (30, 32), (33, 40), (225, 256), (299, 320)])
def test_a_size_that_no_doubling_gives_is_cut_from_the_next_larger(size: int, larger: int) -> None:
    (start, _), doublings = start_size(size)
    assert start * 2**doublings == larger


@pytest.mark.parametrize(
    ("size", "start", "doublings"),
    [((24, 40), (3, 5), 3), ((9, 17), (3, 5), 2), ((100, 60), (7, 4), 4), ((1024, 8), (8, 1), 7)],
)
def test_both_sides_are_doubled_as_often_as_the_larger_needs(
    size: tuple[int, int], start: tuple[int, int], doublings: int
) -> None:
    assert start_size(size) == (start, doublings)
    assert start_size(size[::-1]) == (start[::-1], doublings)


@pytest.mark.parametrize(
    ("width", "doublings", "widths"),
    [
        (128, 2, [128, 64]),
        (128, 3, [128, 64, 32]),
        (256, 5, [256, 128, 64, 32, 16]),
        (4, 2, [4, 2]),
    ],
)
def test_maps_get_narrower_as_they_get_larger(
    width: int, doublings: int, widths: list[int]
) -> None:
    assert map_widths(width, doublings) == widths

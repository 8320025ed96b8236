"""The sizes that a generator makes by doubling a small map, and how wide its maps are."""

from pipeline.image_size import ImageSize, sides_px

_LARGEST_START_PX = 8
_FEWEST_DOUBLINGS = 2
_LEAST_WIDTH = 16


def smaller(size_px: tuple[int, int], times: int) -> tuple[int, int]:
    """Return height and width of an image so many times smaller, rounded up."""
    height, width = size_px
    return -(-height // times), -(-width // times)


def start_size(image_size_px: ImageSize) -> tuple[tuple[int, int], int]:
    """Return height and width of the first feature map in pixels, and how often it is doubled.

    A side is at most 8 and it is doubled at least twice: 8 = 2 * 2^2, 28 = 7 * 2^2,
    32 = 8 * 2^2, 64 = 8 * 2^3, 224 = 7 * 2^5. Where no such pair gives the size it is the
    smallest that gives more, to be cut: 30 from 32, 299 from 320. Both sides are doubled as often
    as the larger one needs: 100 x 60 from 7 * 2^4 and 4 * 2^4.
    """
    height, width = sides_px(image_size_px)
    doublings = _FEWEST_DOUBLINGS
    while max(height, width) > _LARGEST_START_PX * 2**doublings:
        doublings += 1
    return (-(-height // 2**doublings), -(-width // 2**doublings)), doublings


def map_widths(width: int, doublings: int) -> list[int]:
    """Return the channels of the map after each doubling: all of them, then ever half as many.

    A map has four times the pixels of the one before, so large images would otherwise cost
    almost only their last two maps. No map but one that starts narrower has less than 16.
    """
    least = min(width // 2, _LEAST_WIDTH)
    return [max(least, width >> i) for i in range(doublings)]

"""The generator and the sizes that it can make."""

import json

import pytest
import torch

from models.generator import Generator, start_size


@pytest.mark.parametrize(
    ("size", "start", "doublings"),
    [(8, 2, 2), (16, 4, 2), (28, 7, 2), (32, 8, 2), (64, 8, 3), (96, 6, 4), (224, 7, 5)],
)
def test_an_image_is_made_by_doubling_a_small_map(size: int, start: int, doublings: int) -> None:
    assert start_size(size) == (start, doublings)
    assert start * 2**doublings == size


@pytest.mark.parametrize("size", [10, 30, 33, 225, 3, 0])
def test_a_size_that_no_doubling_gives_is_refused_with_the_value(size: int) -> None:
    with pytest.raises(ValueError, match=rf"no generator for images of {size} px"):
        start_size(size)


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (32, 3), (64, 3)])
def test_noise_becomes_images_from_0_to_1(size: int, channels: int) -> None:
    generator = Generator(noise_dim=6, image_size_px=size, channels=channels, width=4)
    x_BCHW = generator(torch.randn(3, 6))
    assert x_BCHW.shape == (3, channels, size, size)
    assert x_BCHW.dtype == torch.float32
    assert x_BCHW.min() >= 0
    assert x_BCHW.max() <= 1


def test_different_noise_gives_different_images() -> None:
    x_BCHW = Generator(noise_dim=6, image_size_px=8, channels=1, width=4)(torch.randn(2, 6))
    assert not torch.equal(x_BCHW[0], x_BCHW[1])


def test_the_metadata_builds_the_same_generator_again() -> None:
    generator = Generator(noise_dim=6, image_size_px=16, channels=3, width=4)
    (text,) = generator.metadata().values()
    again = Generator(**json.loads(text))
    again.load_state_dict(generator.state_dict())
    z_BZ = torch.randn(2, 6)
    assert torch.equal(generator.eval()(z_BZ), again.eval()(z_BZ))

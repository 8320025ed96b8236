"""Generators that add up images of several scales."""

import json
from typing import Any

import pytest
import torch
from torch import nn

from models.generator import Generator
from models.multi_scale import SCALES, SumOfScales, build_generator

SIZES: dict[str, Any] = {"noise_dim": 6, "channels": 3, "width": 8}


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("image_size_px", [8, 30, 64])
def test_every_kind_makes_images_of_every_size(scales: str, image_size_px: int) -> None:
    generator = build_generator(scales=scales, image_size_px=image_size_px, **SIZES)
    x_BCHW = generator(torch.randn(2, 6))
    assert x_BCHW.shape == (2, 3, image_size_px, image_size_px)
    assert x_BCHW.min() >= 0
    assert x_BCHW.max() <= 1


def test_one_scale_is_the_plain_generator() -> None:
    assert type(build_generator(image_size_px=8, **SIZES)) is Generator


@pytest.mark.parametrize("scales", SCALES)
def test_it_can_be_built_again_from_its_metadata(scales: str) -> None:
    generator = build_generator(scales=scales, image_size_px=16, **SIZES).eval()
    again = build_generator(**json.loads(generator.metadata()["madpipe.generator"])).eval()
    again.load_state_dict(generator.state_dict())
    z_BZ = torch.randn(2, 6)
    assert torch.equal(again(z_BZ), generator(z_BZ))


def test_the_images_of_all_maps_are_added_up_each_enlarged() -> None:
    double = nn.Upsample(scale_factor=2, mode="nearest")
    identity = nn.Identity()
    both = SumOfScales(nn.ModuleList([double]), nn.ModuleList([identity, identity]))
    h_BCHW = torch.tensor([[[[0.0, 4.0]]]])
    # Nearest: 0 0 4 4; bilinear: 0 1 3 4.
    assert both(h_BCHW)[0, 0].tolist() == [[0.0, 1.0, 7.0, 8.0]] * 2


@pytest.mark.parametrize("scales", SCALES)
def test_every_parameter_learns(scales: str) -> None:
    generator = build_generator(scales=scales, image_size_px=16, **SIZES)
    generator(torch.randn(4, 6)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in generator.parameters())

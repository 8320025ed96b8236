"""Generators of images at several scales, added up.

Only what stands between the first map and the image differs from `Generator`.

Shape legend: B batch, C channel, H W space.
"""

import json
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from models.generator import Generator

SCALES = ("one", "sum")
"""How an image comes about: of the last map alone, or see `SumOfScales`."""


class SumOfScales(nn.Module):
    """The sum of an image of every map, each enlarged bilinearly to the size of the next.

    As the skip generator of Karras et al. 2020 (StyleGAN2, section 4.1); what is coarse in an image
    is learned by few values of a small map.
    """

    def __init__(self, doublings: nn.ModuleList, to_images: nn.ModuleList) -> None:
        """Show the map before each doubling, and the last, by convolutions of their own."""
        super().__init__()
        self.doublings, self.to_images = doublings, to_images

    def forward(self, h_BCHW: Tensor) -> Tensor:
        """Return the image, before the sigmoid, of a first map."""
        image_BCHW: Tensor = self.to_images[0](h_BCHW)
        for double, to_image in zip(self.doublings, list(self.to_images)[1:], strict=True):
            h_BCHW = double(h_BCHW)
            image_BCHW = to_image(h_BCHW) + _enlarged(image_BCHW)
        return image_BCHW


class MultiScaleGenerator(Generator):
    """A generator that shows all its maps."""

    def __init__(self, **sizes: Any) -> None:
        """Build the generator; `sizes` are what `Generator` takes."""
        super().__init__(**sizes)
        layers = list(self.upsample)
        starts = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
        ends = [*starts[1:], len(layers)]
        doublings = nn.ModuleList(
            nn.Sequential(*layers[start:end]) for start, end in zip(starts, ends, strict=True)
        )
        widths = [layer.in_channels for layer in layers if isinstance(layer, nn.Conv2d)]
        images = [nn.Conv2d(width, self.channels, 3, padding=1) for width in widths]
        self.to_image = SumOfScales(doublings, nn.ModuleList([*images, self.to_image]))  # type: ignore[assignment]
        self.upsample = nn.Sequential()

    def metadata(self) -> dict[str, str]:
        """Return how to build this generator again, as the metadata of its weights file."""
        sizes = json.loads(super().metadata()["madpipe.generator"])
        return {"madpipe.generator": json.dumps({**sizes, "scales": "sum"})}


def build_generator(*, scales: str = "one", **sizes: Any) -> Generator:
    """Return a generator of one of `SCALES`; what else it takes is what `Generator` does."""
    return MultiScaleGenerator(**sizes) if scales == "sum" else Generator(**sizes)


def _enlarged(x_BCHW: Tensor) -> Tensor:
    """Return a map of twice the height and width, bilinearly."""
    return functional.interpolate(x_BCHW, scale_factor=2, mode="bilinear", align_corners=False)

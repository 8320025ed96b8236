"""The generator: noise to image by nearest-neighbour upsampling and 3x3 convolutions.

Shape legend: B batch, Z noise, C channel, H W space. Knows nothing of teachers or losses.
"""

import json

import torch
from torch import Tensor, nn

_LARGEST_START_PX = 8
_FEWEST_DOUBLINGS = 2


def start_size(image_size_px: int) -> tuple[int, int]:
    """Return the side of the first feature map in pixels, and how often it is doubled.

    The side is at most 8 and it is doubled at least twice: 8 = 2 * 2^2, 28 = 7 * 2^2,
    32 = 8 * 2^2, 64 = 8 * 2^3, 224 = 7 * 2^5.

    Raises:
        ValueError: No such pair gives `image_size_px`.
    """
    doublings = _FEWEST_DOUBLINGS
    while image_size_px > _LARGEST_START_PX * 2**doublings:
        doublings += 1
    start_px, rest = divmod(image_size_px, 2**doublings)
    if rest or start_px < 1:
        message = f"no generator for images of {image_size_px} px: not a multiple of {2**doublings}"
        raise ValueError(message)
    return start_px, doublings


class Generator(nn.Module):
    """An unconditional image generator with outputs in [0, 1].

    The layer plan is the one usual in data-free distillation (linear, then upsample,
    convolution, batch norm, leaky ReLU); widths and the sigmoid output are madpipe's defaults.
    """

    def __init__(self, *, noise_dim: int, image_size_px: int, channels: int, width: int) -> None:
        """Build the generator.

        Args:
            noise_dim: Length Z of the noise vector.
            image_size_px: Height and width of the image.
            channels: Channels of the image.
            width: Channels of the first feature map; the last map has half of them.

        Raises:
            ValueError: `image_size_px` cannot be made by doubling a map of 1 to 8 pixels.
        """
        super().__init__()
        self.noise_dim = noise_dim
        self.image_size_px = image_size_px
        self.channels = channels
        self.width = width
        self.start_px, doublings = start_size(image_size_px)
        self.project = nn.Linear(noise_dim, width * self.start_px**2)
        self.norm = nn.BatchNorm2d(width)
        layers: list[nn.Module] = []
        for i in range(doublings):
            out_width = width // 2 if i == doublings - 1 else width
            layers += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Conv2d(width, out_width, 3, padding=1, bias=False),
                nn.BatchNorm2d(out_width),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.upsample = nn.Sequential(*layers)
        self.to_image = nn.Conv2d(width // 2, channels, 3, padding=1)

    def metadata(self) -> dict[str, str]:
        """Return how to build this generator again, as the metadata of its weights file."""
        arguments = {
            "noise_dim": self.noise_dim,
            "image_size_px": self.image_size_px,
            "channels": self.channels,
            "width": self.width,
        }
        return {"madpipe.generator": json.dumps(arguments)}

    def forward(self, z_BZ: Tensor) -> Tensor:
        """Return images of shape BCHW in [0, 1] for noise of shape BZ."""
        h_BCHW = self.project(z_BZ).view(-1, self.width, self.start_px, self.start_px)
        h_BCHW = self.norm(h_BCHW.contiguous(memory_format=torch.channels_last))
        h_BCHW = self.to_image(self.upsample(h_BCHW))
        return torch.sigmoid(h_BCHW.float())

"""The generator: noise to image by nearest-neighbour upsampling and 3x3 convolutions.

Shape legend: B batch, Z noise, C channel, H W space, I O channels in and out.
"""

import json
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.upsampling import map_widths, smaller, start_size
from pipeline.image_size import ImageSize, compact, sides_px


class UpsampleConv2d(nn.Conv2d):
    """Nearest-neighbour upsampling by 2 and a 3x3 convolution in one, with 4/9 of its products.

    Upsampled pixels are equal in pairs, so some of the nine weights always meet the same value:
    added up beforehand they are a transposed convolution of size 4 and stride 2.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Build the convolution; its weights are those of the 3x3 convolution, without bias."""
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the convolved map of twice the height and width."""
        kernel_IO44 = _pair_sums(_pair_sums(self.weight.transpose(0, 1), dim=2), dim=3)
        return functional.conv_transpose2d(x_BCHW, kernel_IO44, stride=2, padding=1)


def _pair_sums(weight: Tensor, dim: int) -> Tensor:
    """Return the four sums of three weights that meet the same low-resolution pixel."""
    first, second, third = weight.unbind(dim)
    return torch.stack([third, second + third, first + second, first], dim=dim)


class Generator(nn.Module):
    """An image generator with outputs in [0, 1], from noise alone or from noise and a label.

    The layer plan is the one usual in data-free distillation (linear, then upsample,
    convolution, batch norm, leaky ReLU); widths and the sigmoid output are madpipe's defaults.
    With a label y and its learned embedding e_y the input is z + e_y (`sum`) or [z; e_y]
    (`cat`): the two conditional kinds of Do et al. 2022 (MAD).
    """

    def __init__(
        self,
        *,
        noise_dim: int,
        image_size_px: ImageSize,
        channels: int,
        width: int,
        kind: str = "uncond",
        num_classes: int = 0,
        enlarge: int = 1,
    ) -> None:
        """Build the generator.

        Args:
            noise_dim: Length Z of the noise vector, and of a class embedding.
            image_size_px: Height and width of the image, one number for both where they are the
                same, cut from the middle of the next larger that doubling a map of at most 8
                pixels gives.
            channels: Channels of the image.
            width: Channels of the first feature map; see `map_widths` for the others.
            kind: `uncond`, `sum` or `cat`.
            num_classes: Number K of labels; 0 for `uncond`.
            enlarge: How many times smaller an image is made before it is enlarged bilinearly.
        """
        super().__init__()
        self.noise_dim = noise_dim
        self.size_px = sides_px(image_size_px)
        self.enlarge = enlarge
        self.native_px = smaller(self.size_px, enlarge)
        self.gives_native = False
        self.channels = channels
        self.width = width
        self.kind = kind
        self.num_classes = num_classes
        self.start_px, doublings = start_size(self.native_px)
        self.embedding = nn.Embedding(num_classes, noise_dim) if kind != "uncond" else None
        in_features = 2 * noise_dim if kind == "cat" else noise_dim
        self.project = nn.Linear(in_features, width * math.prod(self.start_px))
        self.norm = nn.BatchNorm2d(width)
        layers: list[nn.Module] = []
        before = width
        for after in map_widths(width, doublings):
            layers += [
                UpsampleConv2d(before, after),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            before = after
        self.upsample = nn.Sequential(*layers)
        self.to_image = nn.Conv2d(before, channels, 3, padding=1)

    def metadata(self) -> dict[str, str]:
        """Return how to build this generator again, as the metadata of its weights file."""
        arguments = {
            "noise_dim": self.noise_dim,
            "image_size_px": compact(self.size_px),
            "channels": self.channels,
            "width": self.width,
            "kind": self.kind,
            "num_classes": self.num_classes,
            "enlarge": self.enlarge,
        }
        return {"madpipe.generator": json.dumps(arguments)}

    def forward(self, z_BZ: Tensor, y_B: Tensor | None = None) -> Tensor:
        """Return images of shape BCHW in [0, 1] for noise of shape BZ and, by kind, labels.

        They have `size_px`; where `gives_native` is set, the `native_px` before they are enlarged.
        """
        if self.embedding is not None:
            assert y_B is not None, "a conditional generator needs labels"
            e_BZ = self.embedding(y_B)
            z_BZ = z_BZ + e_BZ if self.kind == "sum" else torch.cat([z_BZ, e_BZ], dim=1)
        h_BCHW = self.project(z_BZ).view(-1, self.width, *self.start_px)
        h_BCHW = self.norm(h_BCHW.contiguous(memory_format=torch.channels_last))
        h_BCHW = self.to_image(self.upsample(h_BCHW))
        if h_BCHW.shape[2:] != self.native_px:
            rows, columns = map(_middle, h_BCHW.shape[2:], self.native_px)
            h_BCHW = h_BCHW[:, :, rows, columns]
        x_BCHW = torch.sigmoid(h_BCHW.float())
        return x_BCHW if self.gives_native else resized(x_BCHW, self.size_px)


def resized(x_BCHW: Tensor, size_px: tuple[int, int]) -> Tensor:
    """Return images of so many rows and columns, bilinearly; those that have them as they are."""
    if x_BCHW.shape[2:] == size_px:
        return x_BCHW
    shrinks = x_BCHW.shape[2] > size_px[0] or x_BCHW.shape[3] > size_px[1]
    return functional.interpolate(x_BCHW, size=size_px, mode="bilinear", antialias=shrinks)


def _middle(size: int, inside: int) -> slice:
    """Return the middle of a side, so many pixels of it."""
    margin = (size - inside) // 2
    return slice(margin, margin + inside)

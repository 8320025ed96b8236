"""The memory of DFKD-Mem: past samples, kept where the networks are.

After Binici et al. 2022 (MB-DFKD). Shape legend: N images, C channel, H W space.
"""

import torch
from torch import Tensor


class Memory:
    """A ring of images as uint8, allocated once on the device; the oldest make room."""

    def __init__(self, size: int, image_shape: tuple[int, int, int], device: torch.device) -> None:
        """Make room for `size` images of shape CHW."""
        self._x_NCHW = torch.zeros((size, *image_shape), dtype=torch.uint8, device=device)
        self._seen = 0

    def __len__(self) -> int:
        """Return how many images it holds."""
        return min(self._seen, len(self._x_NCHW))

    def push(self, x_BCHW: Tensor) -> None:
        """Keep images with values in [0, 1], at most as many as there is room for."""
        size = len(self._x_NCHW)
        x_BCHW = x_BCHW[:size]
        first = self._seen % size
        fits = min(len(x_BCHW), size - first)
        pixels_BCHW = (x_BCHW * 255).round_().to(torch.uint8)
        self._x_NCHW[first : first + fits] = pixels_BCHW[:fits]
        self._x_NCHW[: len(x_BCHW) - fits] = pixels_BCHW[fits:]
        self._seen += len(x_BCHW)

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Return `count` of its images at random, with repetition, as float in [0, 1]."""
        chosen_B = torch.randint(len(self), (count,), generator=rng, device=rng.device)
        x_BCHW = self._x_NCHW[chosen_B].float() / 255
        return x_BCHW.contiguous(memory_format=torch.channels_last)

    def state_dict(self) -> dict[str, Tensor | int]:
        """Return the images themselves, not a copy, and how many it has seen."""
        return {"x": self._x_NCHW, "seen": self._seen}

    def load_state_dict(self, saved: dict[str, Tensor | int]) -> None:
        """Take back what `state_dict` returned."""
        x_NCHW, seen = saved["x"], saved["seen"]
        assert isinstance(x_NCHW, Tensor)
        assert isinstance(seen, int)
        self._x_NCHW.copy_(x_NCHW)
        self._seen = seen

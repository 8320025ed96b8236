"""Operators that torch's exporter does not know, in terms of those that it does.

Shape legend: B batch, C channel, H W space.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def adaptive_max_pool2d(x_BCHW: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the largest value of each cell of a grid, and zeros for where it is.

    Cell i of n goes from floor(i * size / n) to ceil((i + 1) * size / n), as torch has it. Nothing
    that classifies asks where the values are.
    """
    for dim, cells in zip((-2, -1), output_size, strict=True):
        size = x_BCHW.shape[dim]
        parts = []
        for cell in range(cells):
            begin = cell * size // cells
            end = -(-(cell + 1) * size // cells)
            parts.append(x_BCHW.narrow(dim, begin, end - begin).amax(dim, keepdim=True))
        x_BCHW = torch.cat(parts, dim)
    return x_BCHW, torch.zeros_like(x_BCHW, dtype=torch.int64)


DECOMPOSITIONS: Mapping[Any, Callable[..., Any]] = {
    torch.ops.aten.adaptive_max_pool2d.default: adaptive_max_pool2d
}

"""The processes that train one student together, and what they exchange.

Each holds all of the networks and a share of every batch. What is a mean over the batch
becomes a mean over all shares, in both directions, so that N processes do what one would with
the whole batch, but for rounding.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor


class _Mean(torch.autograd.Function):
    """The mean over all processes; its gradient is the mean of theirs.

    With L = sum_i L_i / N and gradients of weights averaged afterwards, the share of x_i is
    N dL/dx_i = sum_j dL_j/dy / N.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return _all_reduce_mean(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        return _all_reduce_mean(gradients[0])


def _all_reduce_mean(x: Tensor) -> Tensor:
    x = x.contiguous().clone()
    dist.all_reduce(x)
    return x / dist.get_world_size()


class Group:
    """One process among `size`; with a size of 1 every call is free."""

    def __init__(
        self, rank: int = 0, size: int = 1, check: Callable[[], None] = lambda: None
    ) -> None:
        """Be process `rank` of `size`; torch's process group exists already for size > 1.

        `check` raises where another was lost; it is called before what was computed is kept.
        """
        self.rank = rank
        self.size = size
        self.check = check
        self._local_only = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the group itself: a copied network still belongs to it."""
        return self

    @property
    def is_distributed(self) -> bool:
        """Whether means are taken over several processes now."""
        return self.size > 1 and not self._local_only

    @contextlib.contextmanager
    def local_only(self) -> Iterator[None]:
        """Work for a while without the other processes, which need not do the same."""
        before, self._local_only = self._local_only, True
        try:
            yield
        finally:
            self._local_only = before

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean of `x` over all processes; differentiable."""
        if not self.is_distributed:
            return x
        averaged: Tensor = _Mean.apply(x)
        return averaged

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its mean over all processes, in one message.

        They become parts of that message, in the memory layout of their parameters, so that
        nothing is copied back.
        """
        if not self.is_distributed:
            return
        with_gradients = [x for x in parameters if x.grad is not None]
        gradients = [x.grad for x in with_gradients if x.grad is not None]
        # In the order of memory: autograd keeps gradients dense, and alike in all processes.
        flat = torch.cat([grad.as_strided((grad.numel(),), (1,)) for grad in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for x, gradient, part in zip(with_gradients, gradients, parts, strict=True):
            x.grad = part.as_strided(gradient.size(), gradient.stride())

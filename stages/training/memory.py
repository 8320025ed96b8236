"""What a training step will hold, told before it runs: from what autograd keeps of one image.

Shape legend: B batch, C channel, H W space.
"""

import copy
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from pipeline import machine
from pipeline.image_size import ImageSize, compact, sides_px

USUAL_BYTES = 8 * 2**30
"""What a small machine has; more than that is said even where it is there."""
_TRANSIENT = 1.25
"""Of what autograd keeps: gradients of activations, and the buffers of kernels, come on top."""
_WEIGHT_COPIES = 2
"""Gradients and the optimiser's state, besides the weights that are there already."""
_KERNELS_BYTES = 100 * 2**20
"""What libraries take at their first use."""
_PROCESS_BYTES = 500 * 2**20
"""Where the system does not say what a process holds."""
PROBE_BATCH = 2


def kept_bytes(network: nn.Module, forward: Callable[[nn.Module], Tensor]) -> int | None:
    """Return the bytes that autograd keeps of one image, None where the network has no shapes.

    `forward` runs the network on `probe_batch` images of the device "meta", which hold no values.
    """
    try:
        on_meta = copy.deepcopy(network).to("meta").train()
    except Exception:  # noqa: BLE001  (modules of users need not be copyable)
        return None
    weights = {_storage(tensor) for tensor in (*on_meta.parameters(), *on_meta.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    try:
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            output = forward(on_meta)
    except Exception:  # noqa: BLE001  (a user's network may do anything with values that are absent)
        return None
    kept.setdefault(_storage(output), output.untyped_storage().nbytes())
    return sum(kept.values()) // PROBE_BATCH


def images(channels: int, image_size_px: ImageSize) -> Tensor:
    """Return the images of a probe, of shape BCHW, without values."""
    shape = (PROBE_BATCH, channels, *sides_px(image_size_px))
    return torch.zeros(shape, device="meta").requires_grad_()


def _storage(tensor: Tensor) -> int:
    # Storages on meta have no address.
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001


class StepMemory(NamedTuple):
    """An estimate of what a process, or its GPU, holds in a training step."""

    fixed_bytes: int
    """What does not grow with the batch: what is held already, gradients, optimisers."""
    image_bytes: int
    """What each image of the batch adds."""

    def total(self, batch: int) -> int:
        """Return what a step with so many images takes."""
        return self.fixed_bytes + batch * self.image_bytes

    def fitting(self, bound_bytes: int) -> int:
        """Return the largest power of two of images that fit; 0 where none does."""
        images = max(0, bound_bytes - self.fixed_bytes) // self.image_bytes
        return 2 ** (images.bit_length() - 1) if images else 0

    def fitting_size_px(self, batch: int, image_size_px: ImageSize, bound_bytes: int) -> ImageSize:
        """Return about how large so many images may be, of the shape of those that were reckoned.

        What autograd keeps of an image goes with its pixels.
        """
        room_bytes = max(0, bound_bytes - self.fixed_bytes)
        scale = (room_bytes / (batch * self.image_bytes)) ** 0.5
        height, width = sides_px(image_size_px)
        return compact((int(height * scale), int(width * scale)))

    def warning(
        self,
        batch: int,
        available_bytes: int,
        remedy: Callable[[int], str | None],
        *,
        step: str = "a step",
    ) -> str | None:
        """Return what to say of a step that takes more than 8 GiB: a warning where it is not there.

        `remedy` gets the largest power of two of images that fit, and returns what to set, None
        where no setting helps; `step` names what takes it.
        """
        bound_bytes = min(available_bytes, USUAL_BYTES)
        if self.total(batch) <= bound_bytes:
            return None
        fits = self.fitting(bound_bytes)
        advice = (remedy(fits) if fits > 1 else None) or "smaller images or networks"
        begin = "warning: " if self.total(batch) > available_bytes else ""
        return (
            f"{begin}{step} of {batch} images takes about {self.total(batch) / 2**30:.1f} GiB of "
            f"memory ({available_bytes / 2**30:.1f} GiB are here); {bound_bytes / 2**30:.1f} GiB "
            f"are enough with {advice}"
        )


def of_step(networks: Iterable[nn.Module], kept_bytes_of_image: int) -> StepMemory:
    """Return the estimate for networks that learn, from what autograd keeps of an image.

    It is of the memory where they are: of the GPU, or of the process.
    """
    parameters = [parameter for network in networks for parameter in network.parameters()]
    if any(parameter.is_cuda for parameter in parameters):
        held_bytes = torch.cuda.memory_allocated()
    else:
        held_bytes = machine.peak_memory_bytes() or _PROCESS_BYTES
    learned_bytes = sum(p.numel() * p.element_size() for p in parameters)
    fixed_bytes = held_bytes + _KERNELS_BYTES + _WEIGHT_COPIES * learned_bytes
    return StepMemory(fixed_bytes, max(1, int(_TRANSIENT * kept_bytes_of_image)))


def of_network(network: nn.Module, *, channels: int, image_size_px: ImageSize) -> StepMemory | None:
    """Return the estimate for a network that learns from images; None where it has no shapes."""
    kept = kept_bytes(network, lambda net: net(images(channels, image_size_px)))
    return None if kept is None else of_step([network], kept)


def available_bytes(device: torch.device) -> int:
    """Return the memory of a GPU, or what this process may hold."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine.usable_memory_bytes()

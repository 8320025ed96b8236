"""Weight selection: a student starts from layers and channels of its teacher.

Xu et al. 2024 (ICLR), "Initializing Models with Larger Ones", section 3: of the layers of the
larger network those that come first, which in networks of numbered blocks have the student's names;
of each layer evenly spaced elements. What has no counterpart keeps its random start.
"""

import torch
from torch import Tensor, nn


@torch.no_grad()
def select_weights(student: nn.Module, teacher: nn.Module) -> int:
    """Fill layers of the student from those of the same name in the teacher.

    Of a wider tensor the elements are taken at even distances in its first two dimensions, the
    output and input channels, so that channels that belong together stay together. A layer with a
    tensor that the teacher's lacks, has narrower or with another kernel is passed over.

    Returns:
        How many of the student's trained values got a value of the teacher's.
    """
    sources = teacher.state_dict()
    trained = {name for name, _ in student.named_parameters()}
    selected = 0
    for layer, tensors in _layers(student).items():
        pairs = [(sources.get(f"{layer}{name}"), tensor) for name, tensor in tensors.items()]
        if not all(source is not None and _contains(source, tensor) for source, tensor in pairs):
            continue
        for name, tensor in tensors.items():
            full_name = f"{layer}{name}"
            tensor.copy_(_evenly_spaced(sources[full_name], tensor.shape))
            selected += tensor.numel() if full_name in trained else 0
    return selected


def _layers(network: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of each layer that has some, by their last names."""
    layers: dict[str, dict[str, Tensor]] = {}
    for full_name, tensor in network.state_dict().items():
        layer, dot, name = full_name.rpartition(".")
        layers.setdefault(layer + dot, {})[name] = tensor
    return layers


def _contains(source: Tensor, tensor: Tensor) -> bool:
    """Return whether a tensor's elements can be taken from another's channels."""
    if source.ndim != tensor.ndim or source.shape[2:] != tensor.shape[2:]:
        return False
    return all(large >= small for large, small in zip(source.shape, tensor.shape, strict=True))


def _evenly_spaced(source: Tensor, shape: torch.Size) -> Tensor:
    """Return the elements of a tensor at even distances, as many as `shape` has."""
    for dim, (large, small) in enumerate(zip(source.shape, shape, strict=True)):
        if large != small:
            indices = torch.arange(small, device=source.device) * large // small
            source = source.index_select(dim, indices)
    return source

"""How many classes the weights in a file are for: the size of what an architecture calls its head.

The last matrix of a file is no head where names are sorted, where convolutions end a network, or
where there are several heads. So the architecture is built for a number of classes that no layer
has otherwise, and the tensors with that number are its heads.

Shape legend: B batch, C channel, H W space, K classes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models import registry
from models.key_names import Shape, canonical, fit_names
from pipeline.image_size import ImageSize, sides_px
from pipeline.stage import StageError
from stages.networks.state_dict import effective

_MARK = 9973
"""A prime that is the width of no layer."""
_DRAWS: frozenset[Any] = frozenset(
    (
        Tensor.normal_, Tensor.uniform_,
        nn.init.kaiming_normal_, nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_,
    )
)  # fmt: skip


class _Undrawn(TorchFunctionMode):
    """Leaves out drawing weights: nobody sees those of a network that is built for its shapes.

    Without memory behind them torch draws in Python, which takes most of building a network.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def marked_shapes(
    arch: str, *, channels: int, code: Path | None = None, image_size_px: ImageSize | None = None
) -> dict[str, Shape]:
    """Return the shapes of an architecture's tensors, with a mark where the classes count.

    Raises:
        UnknownArchitecture: There is no such network.
    """
    network = _marked(arch, channels=channels, code=code, image_size_px=image_size_px)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def counts(shapes: Mapping[str, Shape], marked: Mapping[str, Shape]) -> list[int]:
    """Return the numbers of classes that a file's tensors may be for.

    By the names of the heads; where the file has none of these, by the shapes of the tensors whose
    names no layer has.
    """
    heads = {canonical(name): shape for name, shape in marked.items() if _MARK in shape}
    seen = {
        shape[head.index(_MARK)]: None
        for name, shape in shapes.items()
        for suffix, head in heads.items()
        if len(shape) == len(head) and f".{canonical(name)}".endswith(f".{suffix}")
    }
    seen = seen or _of_other_names(shapes, marked, heads)
    return [count for count in seen if count > 0]  # a head of no classes is none


def _of_other_names(
    shapes: Mapping[str, Shape], marked: Mapping[str, Shape], heads: Mapping[str, Shape]
) -> dict[int, None]:
    layers = {canonical(name) for name in marked}
    seen: dict[int, None] = {}
    for name, shape in shapes.items():
        parts = canonical(name).split(".")
        is_known = any(".".join(parts[first:]) in layers for first in range(len(parts)))
        for head in heads.values() if not is_known else ():
            place = head.index(_MARK)
            with_mark = (*shape[:place], _MARK, *shape[place + 1 :])
            if len(shape) > 1 and with_mark == head:
                seen[shape[place]] = None
    return seen


def with_classes(marked: Mapping[str, Shape], num_classes: int) -> dict[str, Shape]:
    """Return the shapes of a network for so many classes."""
    return {
        name: tuple(num_classes if size == _MARK else size for size in shape)
        for name, shape in marked.items()
    }


def of_weights(
    arch: str,
    tensors: Mapping[str, Tensor],
    *,
    channels: int,
    code: Path | None,
    image_size_px: ImageSize | None,
    place: str,
) -> int:
    """Return the number K of classes that weights of a known architecture are for.

    Raises:
        StageError: The architecture cannot be built, or the file has no head.
    """
    try:
        network = _marked(arch, channels=channels, code=code, image_size_px=image_size_px)
    except registry.UnknownArchitecture as error:
        raise StageError("the architecture", error.wrong, error.remedy) from error
    marked = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in effective(tensors).items()}
    seen = counts(shapes, marked)
    for num_classes in seen:
        if _has_all(shapes, with_classes(marked, num_classes)):
            return num_classes
    if seen:
        return seen[0]
    if not any(_MARK in shape for shape in marked.values()):  # a network of one size
        return _outputs(network, channels, image_size_px)
    raise StageError(
        place, f"has no head by which to count its classes ({arch})", "give --num-classes"
    )


def heads_of_other_size(
    arch: str,
    tensors: Mapping[str, Tensor],
    *,
    num_classes: int,
    channels: int,
    code: Path | None,
    image_size_px: ImageSize,
) -> dict[str, str]:
    """Return the tensors of a file that are heads for another number of classes.

    With the name of each in the network; empty where the file does not fit otherwise.
    """
    marked = marked_shapes(arch, channels=channels, code=code, image_size_px=image_size_px)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for count in counts(shapes, marked):
        if count != num_classes and _has_all(shapes, with_classes(marked, count)):
            names = fit_names(shapes, with_classes(marked, count)).own_names
            return {name: own for name, own in names.items() if _MARK in marked[own]}
    return {}


def users_network(arch: str, code: Path | None) -> nn.Module | None:
    """Return a network of the user's with random weights, None for one of the registry's.

    Raises:
        UnknownArchitecture: There is no such network.
    """
    if code is None:
        return None
    return _marked(arch, channels=3, code=code, image_size_px=None)


def input_channels(network: nn.Module) -> int | None:
    """Return how many channels the first convolution of a network takes, None without."""
    modules = network.modules()
    return next((layer.in_channels for layer in modules if isinstance(layer, nn.Conv2d)), None)


def _has_all(shapes: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> bool:
    """Return whether a file has all tensors of a network; old ones have no counts of batches."""
    names = set(fit_names(shapes, wanted).own_names.values())
    return names >= {name for name in wanted if not name.endswith("num_batches_tracked")}


def _marked(
    arch: str, *, channels: int, code: Path | None, image_size_px: ImageSize | None
) -> nn.Module:
    def create() -> nn.Module:
        network = registry.create(
            arch,
            in_channels=channels,
            num_classes=_MARK,
            code=code,
            image_size_px=image_size_px,
        )
        if image_size_px and any(map(nn.parameter.is_lazy, network.parameters())):
            with torch.no_grad():  # such layers take their sizes from what they are given
                network.eval()(torch.zeros(1, channels, *sides_px(image_size_px)))
        return network

    if code is None:
        try:
            with torch.device("meta"), _Undrawn():
                return create()
        except (registry.UnknownArchitecture, RuntimeError):
            pass  # some networks compute while they are built; others are refused below again
    with torch.random.fork_rng(devices=[]):
        return create()


def _outputs(network: nn.Module, channels: int, image_size_px: ImageSize | None) -> int:
    """Return how many outputs a network gives for each image.

    Where it cannot be run or returns no tensor, it is the size of its last layer, which building
    the network for its images confirms or refuses.
    """
    height, width = sides_px(image_size_px or 1)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = network.eval()(torch.zeros(2, channels, height, width))
    except Exception:  # noqa: BLE001  (a user's network may raise anything)
        output = None
    if isinstance(output, Tensor) and output.ndim > 1:
        return output.shape[1]
    rows = [tensor.shape[0] for tensor in network.state_dict().values() if tensor.ndim > 1]
    return rows[-1] if rows else 1

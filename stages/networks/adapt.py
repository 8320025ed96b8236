"""Networks as users have them, adapted: one tensor of logits comes out, batches normalise alone.

Shape legend: B batch, C channel, H W space, K classes.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_LOGITS = "logits"
_OF_DIMENSIONS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_Path = tuple[str | int, ...]


def return_logits(
    network: nn.Module, output: object, num_outputs: int, name: str | None = None
) -> str | None:
    """Let a network return its logits of shape BK alone; return from where it takes them.

    They are the output of that name, else what is called logits in a tuple, a mapping or an
    object, else the first tensor of their shape. None where the network has none; it stays as it
    is then.

    Args:
        network: What gave `output`.
        output: Of one forward pass, no tensor.
        num_outputs: K.
        name: A key or number of the output, or several joined by dots; None: not said.
    """
    path = _path(output, num_outputs) if name is None else _named_path(output, name)
    if path is None:
        return None
    kind = type(network)

    def forward(self: nn.Module, x_BCHW: Tensor) -> Any:
        outputs = kind.forward(self, x_BCHW)
        if isinstance(outputs, Tensor):
            return outputs
        # In training it may return something else.
        is_same = _is_at(outputs, path)
        return _at(outputs, path if is_same else _path(outputs, num_outputs) or path)

    # A class of its own, since hooks are lost where a network is traced.
    network.__class__ = type(kind.__name__, (kind,), {"forward": forward})
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def training_output(network: nn.Module, x_BCHW: Tensor, evaluated: object) -> object:
    """Return what a network gives in training mode; neither it nor the random numbers change.

    Where it raises, which its training will say, that is what it `evaluated`.
    """
    trained = copy.deepcopy(network).train()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            output: object = trained(x_BCHW)
        except Exception:  # noqa: BLE001  (a user's network may raise anything)
            return evaluated
    return output


def to_float32(network: nn.Module) -> bool:
    """Turn a network of half or double precision into fp32; return whether it was one."""
    tensors = [*network.parameters(), *network.buffers()]
    if all(t.dtype == torch.float32 for t in tensors if t.is_floating_point()):
        return False
    network.float()
    return True


def replace_sync_batch_norm(network: nn.Module, x_BCHW: Tensor) -> None:
    """Put plain BatchNorm in the place of SyncBatchNorm, with the same names and tensors.

    Over several processes madpipe itself shares the moments of a batch.
    """
    layers = {n: m for n, m in network.named_modules() if isinstance(m, nn.SyncBatchNorm) and n}
    if not layers:
        return
    dimensions: dict[nn.Module, int] = {}

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        dimensions[layer] = inputs[0].ndim

    hooks = [layer.register_forward_pre_hook(keep) for layer in layers.values()]
    with torch.no_grad():
        network(x_BCHW)
    for hook in hooks:
        hook.remove()
    for name, layer in layers.items():
        plain = _OF_DIMENSIONS[dimensions.get(layer, x_BCHW.ndim)](
            layer.num_features,
            layer.eps,
            layer.momentum,
            affine=layer.affine,
            track_running_stats=layer.track_running_stats,
        )
        plain.load_state_dict(layer.state_dict())
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, plain.train(layer.training))


class _Normalise(nn.Module):
    """torchvision's Normalize without its look at the values of std, which no exporter takes."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            values_C11 = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
            self.register_buffer(name, values_C11, persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return (x_BCHW - self.mean) / self.std


def replace_normalize(network: nn.Module) -> None:
    """Put a module that computes the same in the place of torchvision's Normalize."""
    for name, layer in list(network.named_modules()):
        kind = type(layer)
        if name and kind.__name__ == "Normalize" and kind.__module__.startswith("torchvision."):
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, _Normalise(layer.mean, layer.std))


def listed(output: object) -> str:
    """Return the names and shapes of the tensors in an output, for messages."""
    return ", ".join(
        f"{'.'.join(map(str, path))} {tuple(tensor.shape[1:])}"
        for path, tensor in tensors_of(output)
    )


def _named_path(output: object, name: str) -> _Path | None:
    """Return the way to the output of a name, or of a number from 0; None where there is none."""
    paths = {".".join(map(str, path)): path for path, _ in tensors_of(output)}
    numbered = dict(zip(map(str, range(len(paths))), paths.values(), strict=True))
    return (numbered | paths).get(name)


def _path(output: object, num_outputs: int) -> _Path | None:
    """Return the way to the logits in an output, None where there are none."""
    paths = [path for path, tensor in tensors_of(output) if _is_row(tensor, num_outputs)]
    named = [path for path in paths if path[-1] == _LOGITS]
    return next(iter(named + paths), None)


def _is_row(tensor: Tensor, size: int) -> bool:
    """Return whether a tensor has so many numbers for an image, also as a map of one pixel."""
    return tensor.ndim > 1 and tensor.shape[1] == size and tensor[0].numel() == size


def tensors_of(output: object, path: _Path = ()) -> Iterator[tuple[_Path, Tensor]]:
    """Yield the tensors in an output with the ways to them."""
    if isinstance(output, Tensor):
        yield path, output
        return
    for name, value in _parts(output).items():
        yield from tensors_of(value, (*path, name))


def _parts(output: object) -> dict[Any, Any]:
    if isinstance(output, Mapping):
        return {name: value for name, value in output.items() if isinstance(name, str)}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    if isinstance(output, list | tuple):
        return dict(enumerate(output))
    return dict(vars(output)) if hasattr(output, "__dict__") else {}


def _is_at(output: object, path: _Path) -> bool:
    for part in path:
        parts = _parts(output)
        if part not in parts:
            return False
        output = parts[part]
    return True


def _at(output: object, path: _Path) -> Any:
    for part in path:
        output = _parts(output)[part]
    return output

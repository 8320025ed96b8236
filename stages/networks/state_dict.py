"""The state dict in what a checkpoint holds: below wrappers, beside averages, under masks."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from models.key_names import is_of_average
from pipeline.stage import StageError

_WRAPPERS = (
    "state_dict", "model_state_dict", "model", "net", "network", "module",
    "state_dict_ema", "ema_state_dict", "model_ema", "ema_model", "ema", "shadow",
)  # fmt: skip
"""Usual places of the state dict; what was trained comes before its moving average."""
_TRAINING = ("optim", "sched", "lr_sched", "scaler", "amp", "callbacks", "loops")
"""Beginnings of the names of what a training keeps to go on."""
_COUNTERS = frozenset({"n_averaged", "num_updates", "decay", "initted", "step"})
"""What moving averages keep beside the weights, at the top level."""
_PARTS = (
    ("_mask", "_orig", ""),
    ("weight_g", "weight_v", "weight"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1", "weight"),
)
"""Ends of the names of two tensors and of the weights that they make."""
_NAMES = 3
_DEPTH = 4
"""How deep state dicts lie at most."""


def unwrap(loaded: object, path: Path, place: str) -> dict[str, Tensor]:
    """Return the state dict of a checkpoint.

    It is looked for under the usual names, then as the only mapping of tensors that there is,
    whatever its name. The counters of moving averages are removed.

    Raises:
        StageError: There is none, or several, of which none is known to be the right one.
    """
    while isinstance(loaded, Mapping):
        # Wrappers first: beside them lie single tensors, such as the best accuracy.
        inner = next((loaded[name] for name in _WRAPPERS if _has_tensors(loaded.get(name))), None)
        if inner is None:
            break
        loaded = inner
    dicts = _networks(dict(_state_dicts(loaded, "", _DEPTH)))
    if len(dicts) == 1:
        return _without_averages(next(iter(dicts.values())))
    if dicts:
        raise StageError(
            place,
            f"holds several state dicts ({path}: {', '.join(dicts)})",
            "save the one that is wanted: torch.save(checkpoint[NAME], FILE)",
        )
    content = list(loaded)[:_NAMES] if isinstance(loaded, Mapping) else type(loaded).__name__
    raise StageError(
        place,
        f"holds no state dict ({path}: {content})",
        "save the state dict: torch.save(model.state_dict(), FILE)",
    )


def _has_tensors(loaded: object) -> bool:
    return any(_state_dicts(loaded, "", _DEPTH))


def _state_dicts(loaded: object, name: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the mappings of tensors in a checkpoint, with the keys that lead to them."""
    if not isinstance(loaded, Mapping):
        return
    inner = [
        state_dict
        for key, value in loaded.items()
        if isinstance(key, str) and depth and not key.lower().startswith(_TRAINING)
        for state_dict in _state_dicts(value, f"{name}.{key}".lstrip("."), depth - 1)
    ]
    own = {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
    # Beside a state dict lie single tensors, and in one there may be a layer's extra state.
    if own and len(own) >= max((len(tensors) for _, tensors in inner), default=0):
        yield name or "the top level", own
    else:
        yield from inner


def _networks(dicts: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Leave out what has no matrix, and moving averages, unless there is nothing else."""
    layers = {n: d for n, d in dicts.items() if any(t.ndim > 1 for t in d.values())} or dicts
    return {name: d for name, d in layers.items() if not is_of_average(name)} or layers


def _without_averages(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without the counters of moving averages, and without an average."""
    tensors = {n: t for n, t in tensors.items() if t.ndim or n not in _COUNTERS} or tensors
    # Two networks in one state dict: what was trained, and its moving average.
    trained = {n: t for n, t in tensors.items() if n.startswith("online_model.")}
    if trained and all(n in trained or n.startswith("ema_model.") for n in tensors):
        return trained
    return tensors


def effective(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with the weights that pruned or weight-normalised layers compute with.

    `weight_orig` and `weight_mask` become their product; `weight_g` and `weight_v`, or
    `parametrizations.weight.original0` and `original1`, the vector v of length g.
    """
    computed = dict(tensors)
    for name, tensor in tensors.items():
        for end, other_end, new_end in _PARTS:
            other = tensors.get(name.removesuffix(end) + other_end)
            if not name.endswith(end) or other is None:
                continue
            if end.endswith("_mask") and other.shape == tensor.shape:
                weight = other * tensor
            elif not end.endswith("_mask") and tensor.ndim == other.ndim:
                lengths = [axis for axis, size in enumerate(tensor.shape) if size == 1]
                weight = other * (tensor / other.norm(dim=lengths, keepdim=True))
            else:
                continue
            computed[name.removesuffix(end) + new_end] = weight
            del computed[name], computed[name.removesuffix(end) + other_end]
    return computed

"""The state dict in what a checkpoint holds: below wrappers, beside averages, under masks."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
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
_PRUNED = ("_mask", "_orig")
_NORMALISED = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)
_SPECTRAL = (
    ("weight_u", "weight_v", "weight_orig"),
    (
        "parametrizations.weight.0._u",
        "parametrizations.weight.0._v",
        "parametrizations.weight.original",
    ),
)
"""Ends of the names of tensors that a weight is made of: its mask; its length and direction; its
singular vectors."""
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
        inner = next((loaded[name] for name in _WRAPPERS if has_tensors(loaded.get(name))), None)
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


def has_tensors(loaded: object) -> bool:
    """Return whether a checkpoint has a mapping of tensors."""
    return any(_state_dicts(loaded, "", _DEPTH))


def _state_dicts(loaded: object, name: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the mappings of tensors in a checkpoint, with the keys that lead to them."""
    if isinstance(loaded, list | tuple):
        loaded = {str(n): value for n, value in enumerate(loaded) if isinstance(value, Mapping)}
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
    """Return the tensors with the weights that layers compute with where a file has their parts.

    `weight_orig` and `weight_mask` of pruning become their product; the length and direction of
    weight normalisation the vector; the weight of spectral normalisation is divided by the
    largest singular value, of which the file has the vectors.
    """
    computed = dict(tensors)
    for name in tensors:
        for last, *others, make in _MADE_OF:
            stem = name.removesuffix(last)
            names = (name, *(stem + other for other in others))
            if not name.endswith(last) or not computed.keys() >= set(names):
                continue
            weight = make(*(computed[part] for part in names))
            if weight is not None:
                for part in names:
                    del computed[part]
                computed[stem + ("" if last == _PRUNED[0] else "weight")] = weight
    return computed


def _masked(mask: Tensor, weight: Tensor) -> Tensor | None:
    return weight * mask if weight.shape == mask.shape else None


def _of_length(length: Tensor, direction: Tensor) -> Tensor | None:
    if length.ndim not in (0, direction.ndim):
        return None
    axes = [axis for axis, size in enumerate(length.shape) if size == 1] if length.ndim else None
    norm = torch.linalg.vector_norm(direction, dim=axes, keepdim=length.ndim > 0)
    weight: Tensor = direction * (length / norm)
    return weight


def _spectral(u: Tensor, v: Tensor, weight: Tensor) -> Tensor | None:
    # Transposed convolutions have their outputs second.
    axis = next((a for a, size in enumerate(weight.shape[:2]) if size == len(u)), None)
    if axis is None or weight.numel() != len(u) * len(v):
        return None
    matrix = weight.movedim(axis, 0).flatten(1)
    divided: Tensor = weight / torch.dot(u, matrix.mv(v))
    return divided


_MADE_OF: tuple[tuple[Any, ...], ...] = (
    *((*ends, _spectral) for ends in _SPECTRAL),
    (*_PRUNED, _masked),
    *((*ends, _of_length) for ends in _NORMALISED),
)
"""Ends of names, and what makes the weight of the tensors with them; None where they do not fit."""

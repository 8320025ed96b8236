"""Names of weights that mean the same layer, and which tensors of a file are a network's."""

import re
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import NamedTuple, TypeVar

_SPELLINGS = {"downsample": "shortcut", "linear": "fc", "classifier": "fc"}
"""Parts of a name, and the spelling of another repository."""
_WRAPPERS = frozenset({
    "module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module",
})  # fmt: skip
"""Parts of a name that DataParallel, torch.compile, FSDP and the like put around what they wrap."""
_NUMBERED = re.compile(r"^layer(?=\d+$)")
_OLD_DENSENET = re.compile(r"(?<![a-z0-9])(norm|conv)\.([12])(?=\.)")
_AVERAGE = re.compile(r"(?:^|[._])(?:ema|avg|averaged?|shadow|swa)(?=$|[._])", re.IGNORECASE)
_COUNTS = ("total_ops", "total_params")
"""What profilers leave in state dicts."""
_OBSERVERS = re.compile(r"(?:^|\.)(?:activation_post_process|weight_fake_quant)\w*\.")
"""What training for int8 leaves beside the float weights."""
_STATISTICS = re.compile(r"(?:^|[._])(?<!running_)(?:mean|std|mu|sigma)$")
"""Mean and std of images, as wrappers that normalise keep them."""
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Heads that GoogLeNet and Inception only train with."""

_SEQUENCE = {"0": "conv1", "1": "bn1"} | {f"{n + 3}": f"layer{n}" for n in range(1, 5)}
"""The numbers of a ResNet's layers among its children."""
_SEQUENCE_NAMES = frozenset({"conv1.weight", "bn1.weight", "layer4.0.conv1.weight"})
_IN_SEQUENCE = re.compile(
    r"(?P<prefix>(?:\w+\.)*?)(?P<number>[014-7])\."
    r"(?=(?:weight|bias|running_\w+|num_batches_tracked)$|\d+\.[a-z])"
)
_LAYER = 2
"""Tensors of a linear layer: weight and bias."""

T = TypeVar("T")
Shape = tuple[int, ...]


class Fit(NamedTuple):
    """How the tensors of a file fit a network."""

    own_names: dict[str, str]
    """The network's name of each tensor of the file that is meant for it, right or not."""
    aside: tuple[str, ...]
    """Tensors of the file that belong to something else, such as a loss beside the network."""
    prefixes: tuple[str, ...]
    """Where in the file the network's tensors lie; several where it could be any of them."""
    head: str = ""
    """The name in the file of the last layer, where it is another than the network's."""


def match_key_names(named: Mapping[str, T], wanted: AbstractSet[str]) -> dict[str, T]:
    """Return `named` with each name spelled as `wanted` has it, where only the spelling differs.

    A part of a name, between dots, may be exchanged for its other spelling: downsample and
    shortcut, fc and linear or classifier, layer1 and stage1; a wrapper's part may be there or
    not. A name is left as it is where `wanted` has it or has no other spelling of it, or several,
    and where the other spelling is in use.
    """
    spellings: dict[str, list[str]] = {}
    for name in wanted:
        spellings.setdefault(canonical(name), []).append(name)
    matched: dict[str, T] = {}
    for name, value in named.items():
        options = [] if name in wanted else spellings.get(canonical(name), [])
        is_clear = len(options) == 1 and options[0] not in named and options[0] not in matched
        matched[options[0] if is_clear else name] = value
    return matched


def fit_names(shapes: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> Fit:
    """Return which tensors of a file are those of a network, of whose names the prefix may differ.

    All that a network needs under one prefix is the network, and what else lies in the file is
    left aside; without such a prefix nothing but known extras is. A moving average counts only
    where nothing else fits. Where all that lacks is one layer, and all that is left in the file is
    one of the same shape, that is it: the heads of other classes are often put on by another name.
    """
    fit = _fit_of_names(shapes, wanted)
    numbered = _renumbered(shapes) if _differing(fit, shapes, wanted) else {}
    if not numbered or not wanted.keys() >= _SEQUENCE_NAMES:
        return fit
    other_shapes = {numbered.get(name, name): shape for name, shape in shapes.items()}
    other = _fit_of_names(other_shapes, wanted)
    if _differing(other, other_shapes, wanted):
        return fit
    back = {new: name for name, new in numbered.items()}
    own_names = {back.get(name, name): own_name for name, own_name in other.own_names.items()}
    return other._replace(own_names=own_names, aside=tuple(back.get(n, n) for n in other.aside))


def _renumbered(names: Collection[str]) -> dict[str, str]:
    """Return names by a layer's number in a sequence of a ResNet's layers, with the layer's own.

    `nn.Sequential(*list(resnet.children())[:-1])` is the usual way to take the head off.
    """
    matches = {name: match for name in names if (match := _IN_SEQUENCE.match(name))}
    for prefix in {match["prefix"]: None for match in matches.values()}:
        those = {name: match for name, match in matches.items() if match["prefix"] == prefix}
        if {match["number"] for match in those.values()} == _SEQUENCE.keys():
            return {
                name: f"{prefix}{_SEQUENCE[match['number']]}.{name[match.end() :]}"
                for name, match in those.items()
            }
    return {}


def _fit_of_names(shapes: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> Fit:
    own_prefixes = {"", common_prefix(wanted)}
    fits: dict[str, Fit] = {}
    nearest, least = Fit({}, (), ("",)), len(shapes) + len(wanted) + 1
    for prefix in _prefixes(shapes, len(wanted) - _optional_count(wanted) - _LAYER):
        for own_prefix in own_prefixes:
            fit = _with_head(_fit(shapes, wanted, prefix, own_prefix), shapes, wanted)
            differing = _differing(fit, shapes, wanted)
            if not differing:
                fits.setdefault(prefix, fit)
            if differing < least:
                nearest, least = fit, differing
    if not fits:
        return nearest
    trained = {p: fit for p, fit in fits.items() if not is_of_average(p)} or fits
    if "" in trained:  # nothing lies aside
        return trained[""]
    return next(iter(trained.values()))._replace(prefixes=tuple(trained))


def common_prefix(names: Collection[str]) -> str:
    """Return the dotted prefix that all of the names have; empty where there is none."""
    first, *others = names or ("",)
    parts = first.split(".")[:-1]
    prefixes = (".".join(parts[:count]) + "." for count in range(len(parts), 0, -1))
    return next((p for p in prefixes if all(name.startswith(p) for name in others)), "")


def is_of_average(name: str) -> bool:
    """Return whether a name is that of a moving average of weights."""
    return _AVERAGE.search(name) is not None


@lru_cache(maxsize=65536)
def canonical(name: str) -> str:
    """Return one spelling for all names of the same layer."""
    parts = (part for part in _OLD_DENSENET.sub(r"\1\2", name).split(".") if part not in _WRAPPERS)
    return ".".join(_NUMBERED.sub("stage", _SPELLINGS.get(part, part)) for part in parts)


def _optional_count(wanted: Mapping[str, Shape]) -> int:
    return sum(name.endswith("num_batches_tracked") for name in wanted)


def _prefixes(names: Collection[str], count: int) -> list[str]:
    """Return the dotted prefixes that at least `count` names have, shortest first; "" always."""
    counts: dict[str, int] = {}
    for name in names:
        for position, letter in enumerate(name):
            if letter == ".":
                prefix = name[: position + 1]
                counts[prefix] = counts.get(prefix, 0) + 1
    return ["", *sorted((p for p, n in counts.items() if n >= count), key=len)]


def _fit(
    shapes: Mapping[str, Shape], wanted: Mapping[str, Shape], prefix: str, own_prefix: str
) -> Fit:
    """Return the fit of what lies under a prefix, under another prefix of the network's."""
    auxiliary = () if any(name.startswith(_AUXILIARY) for name in wanted) else _AUXILIARY
    aside = tuple(
        name
        for name in shapes
        if not name.startswith(prefix)
        or (_is_extra(name) and own_prefix + name.removeprefix(prefix) not in wanted)
        or name.removeprefix(prefix).startswith(auxiliary)
    )
    extra = set(aside)
    inside = {own_prefix + name.removeprefix(prefix): name for name in shapes if name not in extra}
    matched = match_key_names(inside, wanted.keys())
    return Fit({name: own_name for own_name, name in matched.items()}, aside, (prefix,))


def _is_extra(name: str) -> bool:
    """Return whether a name is of what programs keep beside a network's weights."""
    is_of_program = name.endswith(_COUNTS) or _OBSERVERS.search(name) is not None
    return is_of_program or _STATISTICS.search(name) is not None


def _with_head(fit: Fit, shapes: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> Fit:
    """Return a fit with the one layer that lacks, where one of another name is left."""
    own_names = set(fit.own_names.values())
    missing = [n for n in wanted if n not in own_names and not n.endswith("num_batches_tracked")]
    if not 0 < len(missing) <= _LAYER or len({n.rpartition(".")[0] for n in missing}) != 1:
        return fit
    fitted = {name for name, own_name in fit.own_names.items() if own_name in wanted}
    left = [name for name in shapes if name not in fitted and not _is_extra(name)]
    ends = {name.rpartition(".")[2]: name for name in missing}
    names = {ends[last]: name for name in left if (last := name.rpartition(".")[2]) in ends}
    is_one_layer = len({name.rpartition(".")[0] for name in left}) == 1
    is_same = all(shapes[name] == wanted[own_name] for own_name, name in names.items())
    if not (len(left) == len(names) == len(missing) and is_one_layer and is_same):
        return fit
    own = fit.own_names | {name: own_name for own_name, name in names.items()}
    aside = tuple(name for name in fit.aside if name not in left)
    return fit._replace(own_names=own, aside=aside, head=left[0].rpartition(".")[0])


def _differing(fit: Fit, shapes: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> int:
    """Return how many tensors only one has, or in another shape; counts of batches may lack."""
    matched = {own_name: shapes[name] for name, own_name in fit.own_names.items()}
    return sum(
        name in matched or not name.endswith("num_batches_tracked")
        for name in {name for name, _ in wanted.items() ^ matched.items()}
    )

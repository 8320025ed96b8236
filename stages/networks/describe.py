"""The card of a weights file: its own, what the user says, and what is usual for the rest."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from torch import Tensor

from models import registry
from models.output_kind import OutputKind
from pipeline.errors import StageError, UsageError
from pipeline.image_size import ImageSize, compact, size_text
from pipeline.preprocessing import Origin, OriginKind, size_fields
from stages.networks import card as cards
from stages.networks import class_count, class_names, conventions, normaliser
from stages.networks.card import Card
from stages.networks.facts import OPTIONS, Facts
from stages.networks.identify_architecture import channels_of, flat_channels, identify
from stages.networks.normaliser import Statistics

_CONVENTIONAL = ("image_size_px", "mean", "std", "resize_px", "interpolation")
SETTINGS = {
    "arch": "teacher.arch",
    "image_size_px": "data.image_size_px",
    "mean": "data.mean",
    "std": "data.std",
    "resize_px": "data.resize_px",
    "interpolation": "data.interpolation",
}
"""Field -> the setting that says it of a teacher."""


def card_for(
    path: Path,
    tensors: Mapping[str, Tensor],
    facts: Facts,
    *,
    kind: OriginKind = "option",
    code: Path | None = None,
) -> Card:
    """Return the card of a weights file: its own, what is said, and the usual for the rest.

    `kind` is the origin of the facts, `code` the file of a user's network. What was assumed is in
    the card's `origins`.

    Raises:
        StageError: The architecture cannot be identified.
        UsageError: The image size is not to be known, or an option contradicts what is known.
    """
    card = cards.read(path)
    if card is not None:
        return _agreeing(card, facts, kind, path)
    channels = channels_of(tensors)
    arch = facts.arch or _identified(tensors, channels, facts.num_classes, path)
    code = code or registry.source_file(arch)
    channels, statistics = _seen(arch, code, tensors)
    if facts.mean and facts.image_size_px:
        channels = flat_channels(tensors, len(facts.mean), facts.image_size_px) or channels
    usual = conventions.convention(arch, channels)
    size = _needed(facts.image_size_px or usual.image_size_px, kind, path)
    num_classes = facts.num_classes or class_count.of_weights(
        arch,
        tensors,
        channels=channels,
        code=code,
        image_size_px=size,
        place=str(path),
    )
    if facts.num_classes:
        _check_count(path, arch, tensors, num_classes, channels=channels, code=code, size_px=size)
    outputs: OutputKind = "logits"
    if num_classes == 1 and kind == "settings":
        num_classes, outputs = 2, "one-logit"
    classes, named = _classes(path, num_classes)
    # Images of another size than the usual one have seldom been scaled to more than that.
    is_usual = compact(size) == usual.image_size_px
    card = Card(
        arch=arch,
        channels=channels,
        **size_fields(size),
        mean=usual.mean,
        std=usual.std,
        classes=classes,
        resize_px=usual.resize_px if is_usual else None,
        interpolation=usual.interpolation,
        outputs=outputs,
    )
    origins = {name: Origin(kind="assumed", reason=usual.reason) for name in _CONVENTIONAL}
    card = msgspec.structs.replace(card, origins=origins | {"classes": named})
    if statistics:
        card = with_statistics(card, statistics)
    return _agreeing(card, facts._replace(num_classes=None), kind, path)


def _needed(size: ImageSize | None, kind: OriginKind, path: Path) -> ImageSize:
    """Return the size of the images; UsageError where nobody says it."""
    if size is None:
        place = (OPTIONS if kind == "option" else SETTINGS)["image_size_px"]
        wrong = f"is needed, since {path.name} does not record it (absent)"
        remedy = "give the height and width in pixels that the network takes"
        raise UsageError(place, wrong, remedy)
    return size


def _identified(
    tensors: Mapping[str, Tensor], channels: int, num_classes: int | None, path: Path
) -> str:
    """Return the architecture of a file; UsageError where it has another number of classes."""
    try:
        return identify(tensors, channels=channels, num_classes=num_classes, path=path)
    except StageError:
        if num_classes is None:
            raise
        with contextlib.suppress(StageError):
            arch = identify(tensors, channels=channels, num_classes=None, path=path)
            count = class_count.of_weights(
                arch, tensors, channels=channels, code=None, image_size_px=None, place=str(path)
            )
            raise _other_count(num_classes, count, path) from None
        raise


def _check_count(
    path: Path,
    arch: str,
    tensors: Mapping[str, Tensor],
    num_classes: int,
    *,
    channels: int,
    code: Path | None,
    size_px: ImageSize,
) -> None:
    """Make sure that a file has no head for another number of classes; UsageError where it has."""
    heads = class_count.heads_of_other_size(
        arch,
        tensors,
        num_classes=num_classes,
        channels=channels,
        code=code,
        image_size_px=size_px,
    )
    for name in heads:
        raise _other_count(num_classes, len(tensors[name]), path)


def _other_count(num_classes: int, count: int, path: Path) -> UsageError:
    return UsageError(
        OPTIONS["num_classes"],
        f"contradicts the file ({num_classes}; {path.name} has a head for {count})",
        "leave it out",
    )


def statistics_of(
    tensors: Mapping[str, Tensor], arch: str | None, code: Path | None = None
) -> Statistics | None:
    """Return the mean and std that a network of a file has of its own, None where it has none."""
    return _seen(arch or "", code or registry.source_file(arch or ""), tensors)[1]


def _seen(
    arch: str, code: Path | None, tensors: Mapping[str, Tensor]
) -> tuple[int, Statistics | None]:
    """Return the channels of a network, and the statistics that it or its file holds."""
    channels, inside = channels_of(tensors), None
    with contextlib.suppress(registry.UnknownArchitecture):  # building it says why
        # Some networks have a length, or refuse to have one.
        if (network := class_count.users_network(arch, code)) is not None:
            channels = class_count.input_channels(network) or channels
            inside = normaliser.in_network(network, channels)
    return channels, inside or normaliser.in_file(tensors, channels)


def with_statistics(card: Card, statistics: Statistics) -> Card:
    """Return a card with the mean and std that a network has of its own."""
    if statistics.is_inside:
        mean, std = (0.0,) * card.channels, (1 / statistics.white,) * card.channels
        reason = f"{card.called} normalises its images itself, by {statistics.names}"
        if statistics.white != 1:
            reason += f", which are of images from 0 to {statistics.white:g}"
    else:
        mean, std, reason = statistics.mean, statistics.std, f"the file's {statistics.names}"
    origins = dict.fromkeys(("mean", "std"), Origin(kind="assumed", reason=reason))
    return msgspec.structs.replace(card, mean=mean, std=std, origins={**card.origins, **origins})


def _classes(path: Path, num_classes: int) -> tuple[tuple[str, ...], Origin]:
    """Return the names of a file's classes, numbers where it has none, and where they are from."""
    names = class_names.known(path)
    if len(names) == num_classes:
        return names, Origin(kind="file")
    numbers = tuple(str(number) for number in range(num_classes))
    reason = f"the file names {len(names) or 'no'} classes"
    if names:
        reason += f", the network has {num_classes}"
    return numbers, Origin(kind="assumed", reason=reason)


def _agreeing(card: Card, facts: Facts, kind: OriginKind, path: Path) -> Card:
    """Return a card with what is said in place of what it assumes.

    Raises:
        UsageError: Something that is said contradicts it.
    """
    changes: dict[str, object] = {}
    origins = dict(card.origins)
    # One number stands for all channels.
    mean, std = (
        values * card.channels if values and len(values) == 1 else values
        for values in (facts.mean, facts.std)
    )
    size = None if facts.image_size_px is None else compact(facts.image_size_px)
    facts = facts._replace(mean=mean, std=std, image_size_px=size)
    for name, value in facts._asdict().items():
        if value is None:
            continue
        own_value = card.image_size if name == "image_size_px" else getattr(card, name)
        if name in origins and origins[name].kind == "assumed":
            changes |= size_fields(value) if name == "image_size_px" else {name: value}
            origins[name] = Origin(kind=kind)
        elif name == "arch" and _is_same_function(value, card.arch):
            changes[name] = value
        elif value != own_value:
            text = size_text if name == "image_size_px" else str
            raise UsageError(
                OPTIONS[name],
                f"contradicts the card in the file ({text(value)}, not {text(own_value)})",
                "leave it out",
            )
    if "classes" in changes and len(facts.classes or ()) != card.num_classes:
        wrong = f"names {len(facts.classes or ())} classes, the network has {card.num_classes}"
        raise UsageError("--labels", f"{wrong} ({path})", "name each class once, in its order")
    card = msgspec.structs.replace(card, **changes, origins=origins)
    if not len(card.mean) == len(card.std) == card.channels:
        counts = f"{len(card.mean)} and {len(card.std)} numbers, {card.channels} channels"
        raise UsageError(
            "--mean", f"does not fit the network ({counts})", "give one for each channel"
        )
    return card


def _is_same_function(one: str, other: str) -> bool:
    """Return whether two names are of one function in a file, which may have been moved."""
    files = registry.source_file(one), registry.source_file(other)
    names = one.rpartition(":")[2], other.rpartition(":")[2]
    return all(files) and names[0] == names[1]

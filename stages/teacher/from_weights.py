"""The teacher from the user's weights, and the whole stage where no labelled images exist.

Nothing then checks the teacher. What its weights do not record themselves is in the settings: the
image size, mean and std.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.classifier import Classifier
from pipeline.image_size import setting_text, sides_px, size_text
from pipeline.settings import Data
from pipeline.stage import Context, StageError
from stages.data.datasets import spec_of
from stages.networks import card as cards
from stages.networks import class_count, factory, probe, weights
from stages.networks.card import Card
from stages.networks.describe import SETTINGS, statistics_of, with_statistics
from stages.networks.describe import card_for as describe_weights
from stages.networks.facts import IN_THE_GRAPH, Facts, assumed_in_graph
from stages.networks.identify_architecture import channels_of

_PROBES = 8


def run(ctx: Context) -> None:
    """Leave the teacher's weights with its card."""
    path = ctx.external("teacher_weights")
    assert path is not None
    card = describe(
        path, ctx.settings.teacher.arch, ctx.settings.data, ctx.external("teacher_code")
    )
    network = load(ctx, card, weights.read(path, "teacher.weights"))
    x_BCHW = torch.rand(_PROBES, card.channels, *card.size_px)
    with torch.inference_mode():
        check_finite(network(x_BCHW))
    lines = card.assumptions(SETTINGS)
    check_assumed(ctx, assumed_in_graph(card), "; ".join(lines))
    for line in lines:
        ctx.note(line)
    if card.origins.get("mean") and not ctx.settings.data.mean and "mean" not in card.assumed:
        ctx.note(
            f"mean and std are those of data.source = {ctx.settings.data.source} "
            f"({card.mean}, {card.std}); data.mean and data.std say otherwise"
        )
    ctx.note("the teacher was not checked, since validate.images is bank: no labelled images exist")
    ctx.metric("params", factory.parameter_count(network))
    weights.save(ctx.output("weights"), network.backbone, cards.metadata(card))


def load(ctx: Context, card: Card, tensors: Mapping[str, Tensor]) -> Classifier:
    """Return the network of a card with the weights of the user's file, ready for inference.

    Raises:
        StageError: They do not fit the architecture, or nothing can be distilled from its outputs.
    """
    code = ctx.external("teacher_code")
    try:
        network = factory.restore(
            card,
            tensors,
            code=code,
            arch_place="teacher.arch",
            weights_place="teacher.weights",
            on_note=ctx.note,
        )
    except StageError as error:
        remedy = _remedy_for_classes(card, tensors, code)
        raise (StageError(error.place, error.wrong, remedy) if remedy else error) from error
    for note in probe.check(network, card, "teacher.arch"):
        ctx.note(note)
    return network


def compare_preprocessing(
    ctx: Context, card: Card, path: Path, tensors: Mapping[str, Tensor]
) -> Card:
    """Hold the preprocessing of the labelled images against what the weights file records.

    Where it records nothing, and the images are of a folder, note what nobody said. Return the
    card, with the mean and std that the network has of its own where the settings say none.

    Raises:
        StageError: The file's card says otherwise.
    """
    data, own = ctx.settings.data, cards.read(path)
    if own is None:
        card = _with_own_statistics(ctx, card, tensors)
        if data.source == "folder":
            values = {
                name: getattr(card, name) or min(card.size_px)
                for name in ("mean", "std", "resize_px")
                if not getattr(data, name) and name not in card.assumed
            }
            if values:
                texts = ", ".join(f"data.{name} {value}" for name, value in values.items())
                line = f"assumed {texts} (usual for folders of images)"
                check_assumed(ctx, [name for name in values if name in IN_THE_GRAPH], line)
                ctx.note(f"{line}; set what the teacher was trained with")
        return card
    _check_size(own, card.size_px, path)
    for name in ("mean", "std"):
        recorded, here = np.atleast_1d(getattr(own, name)), np.atleast_1d(getattr(card, name))
        is_same = recorded.shape == here.shape and np.allclose(recorded, here, atol=1e-6)
        if recorded.size and not is_same:
            text = ", ".join(f"{value:g}" for value in recorded)
            raise StageError(
                f"data.{name}",
                f"is not what the card in {path.name} records ({getattr(card, name)}, not {text})",
                f"set data.{name} = [{text}]",
            )
    return card


def _check_size(own: Card, size_px: tuple[int, int], path: Path) -> None:
    """Raise a StageError where the images have another size than a file's card records."""
    if own.size_px != size_px:
        raise StageError(
            "data.image_size_px",
            f"is not what the card in {path.name} records ({size_text(size_px)}, not "
            f"{size_text(own.size_px)})",
            f"set data.image_size_px = {setting_text(own.size_px)}",
        )


def _with_own_statistics(ctx: Context, card: Card, tensors: Mapping[str, Tensor]) -> Card:
    """Return the card with the mean and std of the network's own, or note that they are not it."""
    statistics = statistics_of(tensors, card.arch, ctx.external("teacher_code"))
    if statistics is None:
        return card
    own = with_statistics(card, statistics)
    if not (ctx.settings.data.mean or ctx.settings.data.std):
        lines = own.assumptions(SETTINGS)
        check_assumed(ctx, ("mean", "std"), "; ".join(lines))
        for line in lines:
            ctx.note(line)
        return own
    if not np.allclose([card.mean, card.std], [own.mean, own.std], atol=1e-3):
        settings = f"data.mean and data.std are {card.mean} and {card.std}"
        ctx.note(
            f"{settings}; {own.origins['mean'].reason}, for which they would be "
            f"{own.mean} and {own.std}"
        )
    return card


def check_assumed(ctx: Context, names: Sequence[str], lines: str) -> None:
    """Make sure that what goes into the graph is assumed only where the settings allow it.

    Raises:
        StageError: teacher.strict forbids it.
    """
    if names and ctx.settings.teacher.strict:
        settings = ", ".join(SETTINGS[name] for name in names)
        raise StageError(
            "teacher.strict", f"nobody said what the images are ({lines})", f"set {settings}"
        )


def _remedy_for_classes(card: Card, tensors: Mapping[str, Tensor], code: Path | None) -> str | None:
    """Return what to do where weights are for more classes than the images have, else None."""
    try:
        count = class_count.of_weights(
            card.arch,
            tensors,
            channels=card.channels,
            code=code,
            image_size_px=card.size_px,
            place="teacher.weights",
        )
    except Exception:  # noqa: BLE001  (a user's network may raise anything; the first error counts)
        return None
    if count <= card.num_classes:
        return None
    return (
        f"the weights are for {count} classes and data.root has {card.num_classes}: where these "
        f"are some of the teacher's, name all {count} in data.classes in the order of its outputs"
    )


def check_finite(logits_NK: Tensor) -> None:
    """Raise a StageError where a teacher's logits are not all finite."""
    wrong = int((~logits_NK.isfinite()).any(dim=1).sum())
    if wrong:
        raise StageError(
            "teacher",
            "gives outputs that are not finite (nan or inf for "
            f"{wrong} of {len(logits_NK)} images)",
            "check its weights, and for some images alone what its forward does to them (a "
            "logarithm, a root, a division, half precision)",
        )


def describe(path: Path, arch: str, data: Data, code: Path | None = None) -> Card:
    """Return the card of a weights file, its own or one from settings and shapes.

    Raises:
        StageError: The architecture or the image size is not the one that the card names.
        UsageError: The image size is not to be known.
    """
    own = cards.read(path)
    if own is not None:
        if own.arch != arch:
            raise StageError(
                "teacher.arch",
                f"contradicts the card in {path.name} ({arch}, not {own.arch})",
                f'set teacher.arch = "{own.arch}"',
            )
        if data.image_size_px is not None:
            _check_size(own, sides_px(data.image_size_px), path)
        return own
    # The source's own statistics are promised where the settings give none, but they may be of
    # images with other channels, as where no source is named.
    tensors = weights.read(path, "teacher.weights")
    spec = spec_of(data)
    has_own = len(spec.mean) == channels_of(tensors)
    is_known = has_own and statistics_of(tensors, arch, code) is None
    facts = Facts(
        arch=arch,
        image_size_px=data.image_size_px,
        mean=data.mean or (spec.mean if is_known else None),
        std=data.std or (spec.std if is_known else None),
        resize_px=data.resize_px,
        interpolation=data.interpolation,
    )
    return describe_weights(path, tensors, facts, kind="settings", code=code)

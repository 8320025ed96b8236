"""The teacher from the user's weights, and the whole stage where no labelled images exist.

Nothing then checks the teacher. What its weights do not record themselves is in the settings: the
image size, mean and std.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

from models.classifier import Classifier
from models.programs.program import Program
from pipeline.image_size import setting_text, sides_px, size_text
from pipeline.settings import Data
from pipeline.stage import Context, StageError
from stages.data.datasets import spec_of
from stages.hubs.records import VALUE, NamedWeights
from stages.networks import card as cards
from stages.networks import class_count, class_names, factory, outputs, probe, weights
from stages.networks.card import Card
from stages.networks.describe import SETTINGS, statistics_of, with_statistics
from stages.networks.describe import card_for as describe_weights
from stages.networks.facts import IN_THE_GRAPH, Facts, assumed_in_graph
from stages.networks.identify_architecture import channels_of
from stages.networks.program_file import ProgramFile
from stages.networks.program_kind import program_kind
from stages.teacher import program_card

_PROBES = 8
_WEIGHTS = "teacher.weights"
_NAMES = 3


def run(ctx: Context) -> None:
    """Leave the teacher's weights with its card."""
    path = ctx.external("teacher_weights")
    assert path is not None
    teacher, data = ctx.settings.teacher, ctx.settings.data
    if program_kind(path):
        file = program_card.read(path, teacher, data)
        card = program_card.described(file, path, teacher, data)
        network, card = load_program(ctx, file, path, card)
    else:
        hub = named(ctx)
        card = describe(
            path,
            teacher.arch,
            data,
            ctx.external("teacher_code"),
            classes=hub.classes if hub else (),
        )
        card = with_hub(ctx, card, hub)
        card = msgspec.structs.replace(card, output=cards.output_text(teacher.output))
        network, card = load(ctx, card, weights.read(path, "teacher.weights"))
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


def named(ctx: Context) -> NamedWeights | None:
    """Return what a hub records of the weights, None where the settings name a file."""
    value = ctx.value(VALUE)
    return None if value is None else msgspec.convert(value, NamedWeights)


def class_names_of(path: Path, hub: NamedWeights | None) -> tuple[str, ...]:
    """Return the names of the teacher's classes, the hub's before those in the file."""
    return (hub.classes if hub else ()) or class_names.known(path)


def with_hub(ctx: Context, card: Card, hub: NamedWeights | None) -> Card:
    """Return a card that says which of its values are a hub's, and note them."""
    if hub is None:
        return card
    card = hub.with_origins(card)
    for text in (hub.note(card), *hub.remarks):
        ctx.note(text)
    return card


def load(ctx: Context, card: Card, tensors: Mapping[str, Tensor]) -> tuple[Classifier, Card]:
    """Return the network of a card with the weights of the user's file, ready for inference.

    The card that comes back also says what the network's outputs are.

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
            weights_place=_WEIGHTS,
            on_note=ctx.note,
            is_teacher=True,
        )
    except StageError as error:
        count = _count(card, tensors, code)
        if count == 1 and card.num_classes == 2 and card.num_outputs != 1:  # noqa: PLR2004  (one logit tells two apart)
            return load(ctx, msgspec.structs.replace(card, outputs="one-logit"), tensors)
        if count is None or count <= card.num_classes:
            raise
        remedy = (
            f"the weights are for {count} classes and data.root has {card.num_classes}: where "
            f"these are some of the teacher's, name all {count} in data.classes in the order of "
            "its outputs"
        )
        raise StageError(error.place, error.wrong, remedy) from error
    return _with_outputs(ctx, network, card, "teacher.arch")


def load_program(
    ctx: Context, file: ProgramFile, path: Path, card: Card
) -> tuple[Classifier, Card]:
    """Return the network of a program, ready for inference, and its card; errors as `load`.

    Raises:
        StageError: It also does not run as in its own runtime.
    """
    network = program_card.restored(file, card, ctx.note)
    ctx.note(program_card.checked(file, path, card, network))
    for change in file.notes:
        ctx.note(f"{path.name}: {change}")
    program = network.backbone
    assert isinstance(program, Program)
    if not program.has_moments:
        ctx.note(
            f"{path.name} has no BatchNorm with running statistics: it never had one, or they were "
            "folded into other layers when it was exported"
        )
    try:
        return _with_outputs(ctx, network, card, _WEIGHTS)
    except StageError as error:
        names = program.without_gradient(probe.probe_images(card))
        if not names or "gradient" not in error.wrong:
            raise
        raise StageError(
            _WEIGHTS,
            f"{path.name} gives no gradient with respect to its images, which is lost in "
            f"{', '.join(names[:_NAMES])}",
            "export the network without it, since images are made by gradients",
        ) from error


def _with_outputs(
    ctx: Context, network: Classifier, card: Card, place: str
) -> tuple[Classifier, Card]:
    """Return a network that gives logits, and its card, once its outputs were looked at."""
    network.outputs, note = outputs.recognise(network, card, place)
    if note:
        ctx.note(note)
    for line in probe.check(network, card, place):
        ctx.note(line)
    return network, msgspec.structs.replace(card, outputs=network.outputs)


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


def _count(card: Card, tensors: Mapping[str, Tensor], code: Path | None) -> int | None:
    """Return how many outputs the head in a file has, None where that is not to be known."""
    try:
        return class_count.of_weights(
            card.arch,
            tensors,
            channels=card.channels,
            code=code,
            image_size_px=card.size_px,
            place=_WEIGHTS,
        )
    except Exception:  # noqa: BLE001  (a user's network may raise anything; the first error counts)
        return None


def check_finite(logits_NK: Tensor, remedy: str | None = None) -> None:
    """Raise a StageError, with a remedy, where a teacher's logits are not all finite."""
    wrong = int((~logits_NK.isfinite()).any(dim=1).sum())
    if wrong:
        raise StageError(
            "teacher",
            "gives outputs that are not finite (nan or inf for "
            f"{wrong} of {len(logits_NK)} images)",
            remedy
            or "check its weights, and for some images alone what its forward does to them (a "
            "logarithm, a root, a division, half precision)",
        )


def describe(
    path: Path,
    arch: str,
    data: Data,
    code: Path | None = None,
    *,
    classes: tuple[str, ...] = (),
) -> Card:
    """Return the card of a weights file, its own or one from settings and shapes.

    `classes` are the hub's names of them, where it has some.

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
    card = describe_weights(path, tensors, facts, kind="settings", code=code)
    if classes and len(classes) != card.num_classes:
        raise StageError(
            "teacher.weights",
            f"has {card.num_classes} outputs, for which the hub names {len(classes)} classes "
            f"({path.name})",
            "give the weights that its configuration is of",
        )
    return msgspec.structs.replace(card, classes=classes) if classes else card

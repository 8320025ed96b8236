"""Building the classifier that a card describes, and filling it with weights."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from models import of_transformers, registry
from models.classifier import Classifier
from models.key_names import Fit
from models.programs.kinds import CONTENT
from pipeline.errors import error_summary
from pipeline.image_size import MOST_CHANNELS
from pipeline.stage import OnNote, StageError, no_note
from stages.networks import adapt, class_count, program_kind, weights
from stages.networks import card as cards
from stages.networks.card import Card

_NAMES = 3
_TWO = 2
"""Classes that one logit tells apart."""
_TRANSFORMING = ("torchvision:googlenet", "torchvision:inception_v3")
"""Networks that may scale their input, which their weights do not tell."""
_UNPOOLED = ("resnet18", "resnet34", "resnet50")
"""Networks whose weights do not tell whether torchvision's max pooling was kept."""
_GPU_WORDS = ("CUDA", "cuda", "NVIDIA")


def build(
    card: Card,
    *,
    code: Path | None,
    place: str,
    on_note: OnNote = no_note,
    program: torch.Tensor | None = None,
    is_teacher: bool = False,
) -> Classifier:
    """Build the network of a card with random weights, channels last.

    Of a network that returns more than its logits these are taken; `on_note` is told. One number
    that a teacher gives for an image of two classes is taken for a logit.

    Args:
        card: What the network is.
        code: The file of a `FILE.py:FUNCTION` architecture.
        place: The setting or option that named it, for messages.
        on_note: Receives what the user should know of it.
        program: The file of a network that is a program, as uint8.
        is_teacher: Whether others learn from it, and it from nobody.

    Raises:
        StageError: There is no such architecture, or it does not map the card's images to one
            logit for each class.
    """
    if card.channels > MOST_CHANNELS:
        raise StageError(
            place,
            f"{card.called} takes images of {card.channels} channels, {MOST_CHANNELS} are the most "
            f"({card.channels})",
            "name a network of fewer",
        )
    backbone = _backbone(card, code, place, program)
    if code is not None:
        adapt.replace_normalize(backbone)
    if adapt.to_float32(backbone):
        on_note(f"{place}: {card.called} is built in another precision, and runs in fp32 here")
    network = Classifier(backbone, card.mean, card.std)
    x_BCHW = torch.zeros(2, card.channels, *card.size_px)
    network.eval()
    try:
        adapt.replace_sync_batch_norm(backbone, x_BCHW)
        with torch.no_grad():
            output = network(x_BCHW)
    except Exception as error:  # a user's network may raise anything
        raise _refusal(network, x_BCHW, card, place, error) from error
    outputs = card.outputs
    if isinstance(output, torch.Tensor):
        if is_teacher and outputs == "logits" and _is_one_of_two(output, card):
            outputs = "one-logit"
        else:
            _check_output(output, card, place)
        if code is not None:
            output = adapt.training_output(network, x_BCHW, output)
    if not isinstance(output, torch.Tensor):
        _take_logits(backbone, output, card, place, on_note)
    network.outputs = outputs
    network.train()
    return network.to(memory_format=torch.channels_last)


def _backbone(
    card: Card, code: Path | None, place: str, program: torch.Tensor | None
) -> torch.nn.Module:
    """Return the network of a card without its normalisation."""
    if kind := program_kind.kind_of(card.arch):
        if program is None:
            raise StageError(
                place, f"{card.arch} is no architecture", "name one, or the file in teacher.weights"
            )
        from models.programs.fault import UnusableProgram  # noqa: PLC0415  (onnx is slow)
        from models.programs.program import Program  # noqa: PLC0415

        try:
            return Program(kind, program, is_channels_last=card.layout == "NHWC")
        except UnusableProgram as error:
            raise StageError(place, error.wrong, error.remedy) from error
    try:
        return registry.create(
            card.arch,
            in_channels=card.channels,
            num_classes=card.num_outputs,
            code=code,
            image_size_px=card.size_px,
        )
    except registry.UnknownArchitecture as error:
        raise StageError(place, error.wrong, error.remedy) from error


def _take_logits(
    backbone: torch.nn.Module, output: object, card: Card, place: str, on_note: OnNote
) -> None:
    """Let a network return its logits alone, of what it returned for two images."""
    source = adapt.return_logits(backbone, output, card.num_outputs, card.output)
    seen = adapt.listed(output)
    if source is None and card.output is not None:
        raise StageError(
            "teacher.output", f"is no output of {card.called} ({card.output}; {seen})", "name one"
        )
    if source is None:
        raise StageError(
            place,
            f"{card.called} returns no logits of {card.num_classes} classes "
            f"({type(output).__name__}: {seen or 'no tensors'})",
            "return the logits alone, or under the name logits",
        )
    if card.output is None:
        on_note(
            f"{place}: {card.called} returns {type(output).__name__}, of which {source} is taken "
            "for the logits; return the logits alone to say it, or name them in teacher.output"
        )


def _refusal(
    network: Classifier, x_BCHW: torch.Tensor, card: Card, place: str, error: Exception
) -> StageError:
    """Return the error for a network that raised on two images."""
    is_program = program_kind.kind_of(card.arch) is not None
    with torch.no_grad(), contextlib.suppress(Exception):
        network(x_BCHW[:1])
        if is_program:
            return StageError(
                place,
                f"takes batches of one size alone ({error_summary(error)})",
                "export it with a dynamic batch: dynamic_shapes for torch.export, dynamic_axes or "
                "a first dimension without a size for ONNX",
            )
        return StageError(
            place,
            f"{card.called} takes one image and no more, so its forward fixes the batch "
            f"({error_summary(error)})",
            "let it work on any batch: x.flatten(1), or x.view(x.size(0), -1)",
        )
    height, width = card.size_px
    remedy = "name an architecture for this size"
    takes = class_count.input_channels(network.backbone)
    if takes and takes != card.channels:
        remedy = (
            f"set data.mean and data.std to {takes} numbers, one for each channel that it takes"
        )
    if any(word in str(error) for word in _GPU_WORDS):
        remedy = "let its forward make tensors where its images are: device=x.device"
    elif is_program:
        remedy = "set the size that it takes in data.image_size_px"
    return StageError(
        place,
        f"{card.called} does not take images of {card.channels}x{height}x{width} "
        f"({error_summary(error)})",
        remedy,
    )


def _is_one_of_two(outputs: torch.Tensor, card: Card) -> bool:
    """Return whether a network tells two classes apart by one number for an image."""
    is_one = outputs.is_floating_point() and outputs[0].numel() == 1
    return is_one and card.num_classes == _TWO


def _check_output(logits_BK: torch.Tensor, card: Card, place: str) -> None:
    """Raise a StageError where a network gives not one logit for each class."""
    if not logits_BK.is_floating_point():
        raise StageError(
            place,
            f"{card.called} gives classes, not logits ({logits_BK.dtype}; argmax in its forward?)",
            "return what goes into the argmax",
        )
    shape = tuple(logits_BK.shape)
    if shape[1:] in ((), (1,)) and card.num_outputs != 1:
        raise StageError(
            place,
            f"{card.called} gives one logit for an image, which names no class (shape {shape} for "
            "2 images)",
            "return torch.cat([torch.zeros_like(x), x], 1) for its logit x of shape (B, 1): two "
            "classes, of which softmax gives sigmoid(x) to the second",
        )
    if shape[1:] not in ((card.num_outputs,), ()):
        raise StageError(
            place,
            f"{card.called} gives {shape[1:]} outputs for {card.num_classes} classes",
            "name an architecture with as many outputs as there are classes, or all of the "
            "teacher's classes in data.classes where the images are of some of them",
        )


def load(path: Path, *, code: Path | None, place: str) -> tuple[Classifier, Card]:
    """Return the network of a weights file that carries its card, ready for inference.

    Raises:
        StageError: It carries none, or the weights do not fit it.
    """
    tensors = weights.read(path, place)
    card = cards.read(path)
    if card is None:
        raise StageError(place, f"carries no card ({path})", "give a file that madpipe wrote")
    return restore(card, tensors, code=code, arch_place=place, weights_place=place), card


def restore(
    card: Card,
    tensors: Mapping[str, torch.Tensor],
    *,
    code: Path | None,
    arch_place: str,
    weights_place: str,
    on_note: OnNote = no_note,
    is_teacher: bool = False,
) -> Classifier:
    """Return the network of a card with its weights, ready for inference.

    Args:
        card: What the network is.
        tensors: The file's, as `weights.read` returns them.
        code: The file of a `FILE.py:FUNCTION` architecture.
        arch_place: The setting or option that named the architecture, for messages.
        weights_place: The one that named the weights.
        on_note: Receives what the user should know of how the weights were taken.
        is_teacher: As for `build`.

    Raises:
        StageError: The card's network cannot be built, or the weights do not fit it.
    """
    program = tensors.get(CONTENT) if program_kind.kind_of(card.arch) else None
    network = build(
        card, code=code, place=arch_place, on_note=on_note, program=program, is_teacher=is_teacher
    )
    if program is not None:
        return network.eval()
    tensors = of_transformers.under_own_names(network.backbone, tensors)
    fit = weights.fill(network.backbone, tensors, arch=card.arch, place=weights_place)
    for note in _notes(card, tensors, fit):
        on_note(f"{weights_place}: {note}")
    return network.eval()


def _notes(card: Card, tensors: Mapping[str, torch.Tensor], fit: Fit) -> Iterator[str]:
    """Yield what the user should know of how weights were taken."""
    arch, aside = card.arch, fit.aside
    if fit.head:
        yield (
            f"{fit.head} is taken for the head of {arch}, as its only layer of another name; if "
            "there is more between them, name the network by FILE.py:FUNCTION"
        )
    if arch in _TRANSFORMING:
        yield (
            f"{arch} is taken as without transform_input; weights fine-tuned from torchvision's "
            "own have it, and want mean and std 0.5"
        )
    if arch in _UNPOOLED and any(".downsample." in name for name in tensors):
        yield (
            f"the names are torchvision's and the first convolution is that of {arch}, which does "
            "not pool behind it; where max pooling was kept, name the network by FILE.py:FUNCTION"
        )
    if aside:
        yield (
            f"{len(aside)} of {len(tensors)} tensors are left aside, since {arch} has no layer for "
            f"them ({', '.join(aside[:_NAMES])}{', ...' if len(aside) > _NAMES else ''})"
        )


def start_from(
    network: Classifier,
    card: Card,
    path: Path,
    *,
    code: Path | None,
    place: str,
    on_note: OnNote,
) -> None:
    """Fill a network with the weights that its training starts from.

    A head for another number of classes stays as it is, with a note.

    Raises:
        StageError: They are weights of another network.
    """
    tensors = of_transformers.under_own_names(network.backbone, weights.read(path, place))
    heads = class_count.heads_of_other_size(
        card.arch,
        tensors,
        num_classes=card.num_classes,
        channels=card.channels,
        code=code,
        image_size_px=card.size_px,
    )
    own = network.backbone.state_dict()
    tensors |= {name: own[own_name] for name, own_name in heads.items()}
    weights.fill(network.backbone, tensors, arch=card.arch, place=place)
    if heads:
        on_note(
            f"{place}: is for other classes, so the head starts at random "
            f"({', '.join(heads.values())})"
        )


def parameter_count(network: torch.nn.Module) -> int:
    """Return the number of trained values; of a program that of all floats in it."""
    count = sum(parameter.numel() for parameter in network.parameters())
    stored: int = getattr(getattr(network, "backbone", None), "stored_values", 0)
    return count + stored

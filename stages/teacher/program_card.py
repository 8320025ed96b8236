"""The card of a teacher that is a program: by what the file says, and the settings for the rest.

Shape legend: B batch, C channel, H W space.
"""

from pathlib import Path
from typing import Literal

import msgspec
import torch

from models.classifier import Classifier
from models.programs.fault import UnusableProgram
from models.programs.kinds import CONTENT
from models.programs.program import Program
from pipeline.errors import UsageError, error_summary
from pipeline.image_size import setting_text, sides_px
from pipeline.preprocessing import Origin, Preprocessing
from pipeline.settings import Data, Teacher
from pipeline.stage import OnNote, StageError, no_note
from stages.networks import adapt, factory, probe, program_file, program_runtime
from stages.networks import card as cards
from stages.networks.card import Card
from stages.networks.program_file import ProgramFile
from stages.networks.program_kind import PREFIX

_PLACE = "teacher.weights"
_LARGEST_BYTE = 255
_PROBED_CLASSES = 2


def read(path: Path, teacher: Teacher, data: Data) -> ProgramFile:
    """Return the program that `teacher.weights` names; errors as `program_file.read`."""
    return program_file.read(
        path,
        output=cards.output_text(teacher.output),
        size_px=sides_px(data.image_size_px) if data.image_size_px else None,
    )


def with_images(
    file: ProgramFile, path: Path, teacher: Teacher, data: Data, images: Preprocessing
) -> Card:
    """Return the card of a program for the labelled images that a source gives.

    Raises:
        StageError: The program takes images of another size or number of channels.
        UsageError: Nobody says what range of values it takes.
    """
    seen = images.channels, *images.size_px
    height, width = file.size_px or images.size_px
    accepted = file.channels or images.channels, height, width
    if seen != accepted:
        texts = ["x".join(map(str, sizes)) for sizes in (accepted, seen)]
        raise StageError(
            "teacher.weights",
            f"takes other images ({path.name}: {texts[0]}, the images are {texts[1]})",
            f"set data.image_size_px = {setting_text((height, width))}, and "
            "data.mean to one number for each channel",
        )
    mean, std = _statistics(file, path, teacher, data, images)
    return _card(file, teacher, images, mean, std)


def described(file: ProgramFile, path: Path, teacher: Teacher, data: Data) -> Card:
    """Return the card of a program where no labelled images say what it takes.

    Its classes are counted from what it gives, unless the file or `data.classes` names them.

    Raises:
        StageError: It gives no row of numbers for an image.
        UsageError: Nobody says what images it takes.
    """
    size = file.size_px or (sides_px(data.image_size_px) if data.image_size_px else None)
    channels = file.channels or len(data.mean) or None
    if size is None or channels is None:
        setting = "data.image_size_px" if size is None else "data.mean"
        raise UsageError(
            setting,
            f"is needed, since {path.name} does not say what images it takes (absent)",
            "set the height and width in pixels, and mean and std with a number for each channel",
        )
    images = Preprocessing(
        channels=channels,
        image_size_px=size[0],
        width_px=None if size[0] == size[1] else size[1],
        mean=data.mean,
        std=data.std,
        classes=(),
        resize_px=data.resize_px,
        interpolation=data.interpolation or "bilinear",
    )
    mean, std = _statistics(file, path, teacher, data, images)
    card = _card(file, teacher, images, mean, std)
    count = _count(file, card)
    names = data.classes if isinstance(data.classes, tuple) else ()
    names = names or (file.card.classes if file.card else ())
    if names and len(names) != count:
        raise UsageError(
            "data.classes",
            f"contradicts {path.name} ({len(names)} names, {count} outputs)",
            "name each class once, in the order of the outputs",
        )
    classes = names or tuple(str(number) for number in range(count))
    assumed = Origin(kind="assumed", reason=f"{path.name} names no classes")
    origins = {**card.origins, **({} if names else {"classes": assumed})}
    return msgspec.structs.replace(card, classes=classes, origins=origins)


def checked(file: ProgramFile, path: Path, card: Card, network: Classifier) -> str:
    """Compare a program with the runtime of its file; return a note that says how close it is.

    Raises:
        StageError: They differ by more than rounding.
    """
    with torch.random.fork_rng(devices=[]):
        x_BCHW = probe.probe_images(card)
    if file.takes_bytes or set(card.std) == {1 / _LARGEST_BYTE}:
        x_BCHW = (x_BCHW * _LARGEST_BYTE).round()
    program = network.backbone
    assert isinstance(program, Program)
    return program_runtime.check(
        path,
        file.kind,
        # All outputs, where the network was made to return one.
        lambda x_BCHW: Program.forward(program, x_BCHW),
        x_BCHW,
        layout=card.layout,
        output=file.output,
    )


def _card(
    file: ProgramFile,
    teacher: Teacher,
    images: Preprocessing,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Card:
    fields = {name: getattr(images, name) for name in Preprocessing.__struct_fields__}
    return Card(
        **fields | {"mean": mean, "std": std},
        arch=f"{PREFIX}{file.kind}",
        layout=file.layout,
        # Of an ONNX file the one output is left.
        output=None if file.kind == "onnx" else cards.output_text(teacher.output),
    )


_Numbers = tuple[float, ...]


def _statistics(
    file: ProgramFile, path: Path, teacher: Teacher, data: Data, images: Preprocessing
) -> tuple[_Numbers, _Numbers]:
    """Return the mean and std by which images in [0, 1] become what the program takes."""
    takes: Literal["unit", "normalised", "bytes"] | None = teacher.input
    if file.takes_bytes and takes in ("unit", "normalised"):
        raise UsageError(
            "teacher.input",
            f'contradicts {path.name} ("{takes}"; it takes bytes)',
            "leave it out",
        )
    if takes is None:
        if file.takes_bytes:
            takes = "bytes"
        elif file.card is not None:
            takes = "unit"
        elif data.mean and data.std:
            takes = "normalised"
        else:
            raise UsageError(
                "teacher.input",
                f"is needed, since {path.name} does not say what range of values it takes (absent)",
                'set "unit" for images in [0, 1], "bytes" for values from 0 to 255, or '
                '"normalised" with data.mean and data.std',
            )
    if takes == "unit":
        return (0.0,) * images.channels, (1.0,) * images.channels
    if takes == "bytes":
        return (0.0,) * images.channels, (1 / _LARGEST_BYTE,) * images.channels
    # The source's own would be a guess: nothing says that the file was made with them.
    if not (len(data.mean) == len(data.std) == images.channels):
        raise UsageError(
            "data.mean",
            f'is needed where teacher.input is "normalised" ({len(data.mean)} numbers, '
            f"{images.channels} channels)",
            "set data.mean and data.std, a number for each channel",
        )
    return data.mean, data.std


def _count(file: ProgramFile, card: Card) -> int:
    """Return how many classes a program tells apart, by what it gives for an image."""
    x_BCHW = probe.probe_images(card)
    try:
        program = Program(file.kind, file.content, is_channels_last=file.layout == "NHWC")
        network = Classifier(program, card.mean, card.std).eval()
        with torch.no_grad():
            output: object = network(x_BCHW)
            if not isinstance(output, torch.Tensor):
                _choose_output(program, output, card)
                output = network(x_BCHW)
    except UnusableProgram as error:
        raise StageError("teacher.weights", error.wrong, error.remedy) from error
    except RuntimeError as error:
        raise StageError(
            "teacher.weights",
            f"does not take images of {'x'.join(map(str, x_BCHW.shape[1:]))} "
            f"({error_summary(error)})",
            "set data.image_size_px to the height and width that it takes",
        ) from error
    assert isinstance(output, torch.Tensor)
    count = output[0].numel()
    if output.ndim < 1 or (output.ndim > 1 and count != output.shape[1]):
        raise StageError(
            "teacher.weights",
            f"gives no row of logits for an image (shape {tuple(output.shape[1:])})",
            "export a classifier, or name its logits in teacher.output",
        )
    return _PROBED_CLASSES if count == 1 else count


def _choose_output(program: Program, output: object, card: Card) -> None:
    """Let a program return the output that the settings name."""
    seen = adapt.listed(output)
    if card.output is None:
        raise StageError(
            "teacher.output",
            f"is needed, since the file gives several outputs ({seen})",
            "name one",
        )
    if adapt.return_logits(program, output, 0, card.output) is None:
        raise StageError(
            "teacher.output", f"is no output of the file ({card.output}; {seen})", "name one"
        )


def restored(file: ProgramFile, card: Card, on_note: OnNote = no_note) -> Classifier:
    """Return the network of a program, ready for inference; errors as `factory.restore`."""
    return factory.restore(
        card,
        {CONTENT: file.content},
        code=None,
        arch_place=_PLACE,
        weights_place=_PLACE,
        on_note=on_note,
        is_teacher=True,
    )

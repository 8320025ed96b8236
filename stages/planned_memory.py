"""What training will hold in memory, estimated for `madpipe plan`, before anything runs.

Light: torch is imported where an estimate is made.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pipeline import collector
from pipeline.errors import StageError
from pipeline.image_size import ImageSize
from pipeline.settings import Settings
from pipeline.stage import Stage
from stages.data.datasets import spec_of
from stages.preflight import NeedsNetwork

if TYPE_CHECKING:
    from models.classifier import Classifier
    from stages.networks.card import Card
    from stages.training.memory import StepMemory

_SMALL_STEP_PIXELS = 2**19
"""128 images of 64 x 64: networks for such images stay far from 8 GiB."""


class PlannedMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What a step of a stage will hold, and what fits where memory is smaller."""

    images: int
    """In memory at a time."""
    image_size_px: ImageSize
    """One number for both sides, or height and width."""
    step_bytes: int
    """The most that the process will hold."""
    available_bytes: int
    """What this machine, or its GPU, has for it."""
    bound_bytes: int
    """8 GiB, or what is available where that is less."""
    fitting_images: int
    """A power of two of images of that size, which take no more than `bound_bytes`."""
    fitting_image_size_px: ImageSize
    """About how large so many images may be in `bound_bytes`."""
    setting: str | None
    """What to set for a step within `bound_bytes`, None where it is, or where no setting helps."""


def trains(stage: Stage, settings: Settings) -> bool:
    """Return whether a stage has training steps."""
    is_trained_teacher = stage.name == "teacher" and settings.teacher.weights is None
    return is_trained_teacher or stage.name == "distill"


def may_be_large(stage: Stage, settings: Settings) -> bool:
    """Return whether the memory of a step is worth an estimate, as far as settings alone say."""
    if settings.validate.images == "bank" and settings.data.image_size_px is None:
        return True  # only the weights say how large images are
    pixels = math.prod(spec_of(settings.data).size_px)
    return _images(stage, settings) * pixels > _SMALL_STEP_PIXELS


def users_file(stage: Stage) -> Path | None:
    """Return a file of the user's own that the estimate would run, None where there is none."""
    codes = (stage.externals.get(f"{role}_code") for role in ("teacher", "student"))
    return next((code.path for code in codes if code), None)


def of_stage(stage: Stage, settings: Settings) -> PlannedMemory:
    """Return the estimate for a stage that trains.

    Its networks are built with random weights, and nothing is computed but their shapes and two
    images.

    Raises:
        MadpipeError: A network cannot be built, or none can be reckoned with.
    """
    with collector.paused():
        from stages.distill import step_memory  # noqa: PLC0415  (torch, see above)
        from stages.training import device as devices  # noqa: PLC0415
        from stages.training import memory  # noqa: PLC0415
    is_teacher = stage.name == "teacher"
    card = _card(stage, settings)
    estimate = _of_teacher(stage, card) if is_teacher else _of_distill(stage, settings, card)
    if estimate is None:
        archs = [card.arch] if is_teacher else [card.arch, settings.student.arch]
        raise StageError(
            stage.name,
            f"has no estimate of its memory, for shapes alone do not run it ({', '.join(archs)})",
            "madpipe run all --smoke measures it",
        )
    device = devices.select("fp32").device
    available_bytes = memory.available_bytes(device)
    if not is_teacher and device.type == "cpu":
        available_bytes //= settings.distill.processes
    bound_bytes = min(available_bytes, memory.USUAL_BYTES)
    images = _images(stage, settings)
    fitting_images, setting = estimate.fitting(bound_bytes), None
    if estimate.total(images) > bound_bytes and fitting_images > 1:
        setting = f"teacher.batch_size = {fitting_images}"
        if not is_teacher:
            setting = step_memory.remedy(settings.distill, fitting_images)
    return PlannedMemory(
        images=images,
        image_size_px=card.image_size,
        step_bytes=estimate.total(images),
        available_bytes=available_bytes,
        bound_bytes=bound_bytes,
        fitting_images=fitting_images,
        fitting_image_size_px=estimate.fitting_size_px(images, card.size_px, bound_bytes),
        setting=setting,
    )


def _images(stage: Stage, settings: Settings) -> int:
    """Return how many images a step has in memory at a time."""
    if stage.name == "teacher":
        return settings.teacher.batch_size
    options = settings.distill
    return options.batch_size // options.accumulation_steps // options.processes


def _card(stage: Stage, settings: Settings) -> "Card":
    """Return what the teacher is and takes."""
    fits = _needs(stage)
    card = fits.card()
    if fits.program is not None and fits.teacher_weights is not None:
        from stages.teacher import program_card  # noqa: PLC0415  (torch, see above)

        file = program_card.read(fits.teacher_weights, fits.program, settings.data)
        arguments = file, fits.teacher_weights, fits.program, settings.data
        return (
            program_card.described(*arguments)
            if card is None
            else program_card.with_images(*arguments, card)
        )
    if card is None and fits.data is None and fits.teacher_weights is not None:
        from stages.teacher import from_weights  # noqa: PLC0415  (torch, see above)

        code = stage.externals.get("teacher_code")
        return from_weights.describe(
            fits.teacher_weights, settings.teacher.arch, settings.data, code.path if code else None
        )
    if card is None:
        raise StageError(
            stage.name,
            "has no estimate of its memory, for the images have no classes yet "
            f"({settings.data.root})",
            "put the images there",
        )
    return msgspec.structs.replace(card, arch=settings.teacher.arch)


def _needs(stage: Stage) -> NeedsNetwork:
    return next(entry for entry in stage.requires if isinstance(entry, NeedsNetwork))


def _program(stage: Stage, settings: Settings, card: "Card") -> "Classifier | None":
    """Return a teacher that is a program, None for any other."""
    fits = _needs(stage)
    if fits.program is None or fits.teacher_weights is None:
        return None
    from stages.teacher import program_card  # noqa: PLC0415  (torch, see above)

    file = program_card.read(fits.teacher_weights, fits.program, settings.data)
    return program_card.restored(file, card)


def _of_teacher(stage: Stage, card: "Card") -> "StepMemory | None":
    import torch  # noqa: PLC0415  (see above)

    from stages.networks import factory  # noqa: PLC0415
    from stages.training import device as devices  # noqa: PLC0415
    from stages.training import memory  # noqa: PLC0415

    code = stage.externals.get("teacher_code")
    network = factory.build(card, code=code.path if code else None, place="teacher.arch")
    network = devices.Compute(torch.device("cpu"), "fp32").placed(network)
    return memory.of_network(network, channels=card.channels, image_size_px=card.size_px)


def _of_distill(stage: Stage, settings: Settings, card: "Card") -> "StepMemory | None":
    import torch  # noqa: PLC0415  (see above)

    from stages.distill import job, step_memory  # noqa: PLC0415
    from stages.networks import card as cards  # noqa: PLC0415
    from stages.networks import factory  # noqa: PLC0415
    from stages.training import device as devices  # noqa: PLC0415

    codes = {
        role: code.path if (code := stage.externals.get(f"{role}_code")) else None
        for role in ("teacher", "student")
    }
    teacher = _program(stage, settings, card) or factory.build(
        card, code=codes["teacher"], place="teacher.arch", is_teacher=True
    )
    student_card = cards.of_student(card, settings.student.arch)
    student = factory.build(student_card, code=codes["student"], place="student.arch")
    # As in training, and never on a GPU, which another run may fill.
    compute = devices.Compute(
        torch.device("cpu"), devices.select(settings.distill.precision).precision
    )
    return step_memory.of_networks(
        teacher=teacher.eval().requires_grad_(requires_grad=False),
        student=compute.placed(student),
        generator=compute.placed(job.build_generator(settings.distill, card)),
        options=settings.distill,
        dtype=compute.dtype,
    )

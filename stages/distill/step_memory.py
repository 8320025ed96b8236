"""What a round of distillation will hold, told before the first."""

import math

import torch
from torch import nn

from models.generator import Generator
from pipeline.settings import Distill
from stages.distill import methods, priors
from stages.distill.trainer import DistillTrainer
from stages.training import memory
from stages.training.memory import StepMemory


def of_networks(
    *,
    teacher: nn.Module,
    student: nn.Module,
    generator: Generator,
    options: Distill,
    dtype: torch.dtype,
) -> StepMemory | None:
    """Return the estimate, by images of one part of a batch; None where a network has no shapes.

    The generator's step keeps what generator, teacher and student do with an image, the student's
    what the student does with its own batch; what past images take comes on top.
    """
    options = priors.with_defaults(options, teacher)
    shape = generator.channels, generator.size_px
    values = generator.channels * math.prod(generator.native_px)
    recipe = methods.recipe(options, values)

    def kept_of_generator(network: nn.Module) -> torch.Tensor:
        z_BZ = torch.zeros(memory.PROBE_BATCH, generator.noise_dim, device="meta")
        labels_B = torch.zeros(memory.PROBE_BATCH, dtype=torch.int64, device="meta")
        x_BCHW: torch.Tensor = network(z_BZ, labels_B)
        return x_BCHW

    from_noise = memory.kept_bytes(generator, kept_of_generator)
    of_teacher = memory.kept_bytes(teacher, lambda net: net(memory.images(*shape)))
    of_student = memory.kept_bytes(student, lambda net: net(memory.images(*shape)))
    if from_noise is None or of_teacher is None or of_student is None:
        return None
    if methods.loss_terms(options).batch_norm:
        # Each layer's input once more, less its mean.
        of_teacher += of_teacher // 2
    # Images of a student step for each that a generator makes.
    sources = recipe.step_images / options.batch_size
    kept = max(from_noise + of_teacher + of_student, int(sources * of_student))
    if dtype != torch.float32:
        kept //= 2
    estimate = memory.of_step([student, generator], kept)
    # The system gives the memory of past images out only as they fill it.
    return estimate._replace(fixed_bytes=estimate.fixed_bytes + recipe.memory_size * values)


def of_trainer(trainer: DistillTrainer) -> StepMemory | None:
    """Return the estimate for the networks of a trainer, see `of_networks`."""
    return of_networks(
        teacher=trainer.teacher,
        student=trainer.student,
        generator=trainer.generator,
        options=trainer.options,
        dtype=trainer.compute.dtype,
    )


def remedy(options: Distill, images: int) -> str | None:
    """Return the setting with which at most so many images are in memory, None where none does."""
    sizes = {options.batch_size, options.student_batch_size or options.batch_size}
    for steps in range(1, options.batch_size // 2 + 1):
        parts = steps * options.processes
        is_allowed = all(size % parts == 0 and size >= 2 * parts for size in sizes)
        if is_allowed and options.batch_size // parts <= images:
            return f"distill.accumulation_steps = {steps}"
    return None


def warning(trainer: DistillTrainer) -> str | None:
    """Return what to say of rounds that take more memory than there is, or than 8 GiB."""
    estimate = None if trainer.group.is_distributed else of_trainer(trainer)
    if estimate is None:
        return None
    available_bytes = memory.available_bytes(trainer.compute.device)
    return estimate.warning(
        trainer.micro_batch, available_bytes, lambda images: remedy(trainer.options, images)
    )

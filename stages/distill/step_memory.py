"""What a round of distillation will hold, told before the first."""

import torch

from stages.distill.trainer import DistillTrainer
from stages.training import memory
from stages.training.memory import StepMemory


def of_trainer(trainer: DistillTrainer) -> StepMemory | None:
    """Return the estimate, by images of one part of a batch; None where a network has no shapes.

    The generator's step keeps what generator, teacher and student do with an image, the student's
    what the student does with its own batch; what past images take comes on top.
    """
    generator = trainer.generator
    shape = generator.channels, generator.image_size_px

    def kept_of_generator(network: torch.nn.Module) -> torch.Tensor:
        z_BZ = torch.zeros(memory.PROBE_BATCH, generator.noise_dim, device="meta")
        labels_B = torch.zeros(memory.PROBE_BATCH, dtype=torch.int64, device="meta")
        x_BCHW: torch.Tensor = network(z_BZ, labels_B)
        return x_BCHW

    from_noise = memory.kept_bytes(generator, kept_of_generator)
    of_teacher = memory.kept_bytes(trainer.teacher, lambda net: net(memory.images(*shape)))
    of_student = memory.kept_bytes(trainer.student, lambda net: net(memory.images(*shape)))
    if from_noise is None or of_teacher is None or of_student is None:
        return None
    if trainer.terms.batch_norm:
        # Each layer's input once more, less its mean.
        of_teacher += of_teacher // 2
    # Images of a student step for each that a generator makes.
    sources = trainer.recipe.student_batch_size / trainer.options.batch_size
    kept = max(from_noise + of_teacher + of_student, int(sources * of_student))
    if trainer.compute.dtype != torch.float32:
        kept //= 2
    estimate = memory.of_step([trainer.student, generator], kept)
    # The system gives this memory out only as images fill it.
    return estimate._replace(fixed_bytes=estimate.fixed_bytes + trainer.memory.x_NCHW.nbytes)


def warning(trainer: DistillTrainer) -> str | None:
    """Return what to say of rounds that take more memory than there is, or than 8 GiB."""
    estimate = None if trainer.group.is_distributed else of_trainer(trainer)
    if estimate is None:
        return None
    batch_size = trainer.options.batch_size

    def remedy(images: int) -> str:
        return f"distill.accumulation_steps = {-(-batch_size // images)}"

    available_bytes = memory.available_bytes(trainer.compute.device)
    return estimate.warning(trainer.micro_batch, available_bytes, remedy)

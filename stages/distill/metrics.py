"""What is measured while a student trains: windows of training rounds, and the curves they make.

Counts stay on the device until a window of rounds ends.

Shape legend: B batch, K classes.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec
import torch
from torch import Tensor, nn

from models.generator import Generator
from pipeline.atomic import write_bytes
from stages.distill import losses
from stages.distill.batch_norm import untracked
from stages.distill.distributed.group import Group
from stages.distill.sampler import NoiseSampler
from stages.training.device import Compute

_PROBES = 64
_PROBE_SEED = 20220921


class Window(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The figures of some training rounds; one point of each curve of a run."""

    round: int
    """Training rounds done at its end."""
    student_loss: float
    generator_loss: float
    agreement: float
    """Share of the synthetic images on which student and teacher decide for the same class."""
    class_entropy: float
    """Entropy of the teacher's decisions over ln K: 1 is balanced.

    On the generator's images, or on its EMA's where lambda0 = 0 and the student sees no others.
    """
    largest_class_share: float
    divergence_generator: float | None = None
    """JS divergence of the student's predictions across a round's generator steps, in nats."""
    divergence_ema: float | None = None
    """The same for the EMA generator."""
    student_top1: float | None = None
    """On the monitor set, where one is switched on."""
    teacher_faults: int = 0
    """Sound images for which the teacher gave outputs that are not finite."""

    def figures(self) -> dict[str, float]:
        """Return the figures that were measured, by their names."""
        figures: dict[str, float] = msgspec.to_builtins(self)
        return {name: value for name, value in figures.items() if name != "round"}


class MetricAccumulator(nn.Module):
    """Counts that never wait for the device until they are read."""

    classes_K: Tensor
    sums_6: Tensor
    """Agreements, images, student losses, student steps, generator losses, generator steps."""
    faults: Tensor
    """Sound images for which the teacher's outputs were not finite; a count without a shape."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        """Begin with nothing counted."""
        super().__init__()
        for name, size in (("classes_K", num_classes), ("sums_6", 6)):
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64, device=device))
        self.register_buffer("faults", torch.zeros((), dtype=torch.int64, device=device))

    def add_teacher(self, x_BCHW: Tensor, teacher_BK: Tensor) -> None:
        """Count images that are sound while the teacher's outputs for them are not finite."""
        # In few kernels: x - x is 0 for what is finite alone, and a generator whose weights are
        # lost makes no sound pixel, so that one tells.
        sum_B, pixel_B = teacher_BK.sum(dim=1), x_BCHW[:, 0, 0, 0]
        self.faults += ((sum_B - sum_B != 0) & (pixel_B == pixel_B)).sum()  # noqa: PLR0124

    def add_generator_step(self, loss: Tensor) -> None:
        """Count a step of the generator."""
        self.sums_6[4] += loss
        self.sums_6[5] += 1

    def add_batch(self, teacher_BK: Tensor) -> None:
        """Count the teacher's decisions on images of the generator."""
        decisions_B = teacher_BK.argmax(dim=1)
        ones_B = torch.ones_like(decisions_B, dtype=torch.float64)
        self.classes_K.scatter_add_(0, decisions_B, ones_B)

    def add_student_step(self, loss: Tensor, student_BK: Tensor, teacher_BK: Tensor) -> None:
        """Count a step of the student and where its decisions are the teacher's."""
        self.sums_6[0] += (student_BK.argmax(dim=1) == teacher_BK.argmax(dim=1)).sum()
        self.sums_6[1] += len(student_BK)
        self.sums_6[2] += loss
        self.sums_6[3] += 1

    def read(
        self, round_number: int, divergences: Mapping[str, float], student_top1: float | None
    ) -> Window:
        """Return the window and begin the next; this waits for the device, as `peek` does."""
        window = self.peek(round_number, divergences, student_top1)
        for counts in (self.sums_6, self.classes_K, self.faults):
            counts.zero_()
        return window

    def peek(
        self,
        round_number: int,
        divergences: Mapping[str, float] = MappingProxyType({}),
        student_top1: float | None = None,
    ) -> Window:
        """Return the figures of the window so far, which goes on."""
        agreed, images, student, student_steps, generator, generator_steps = self.sums_6.tolist()
        counts = self.classes_K.tolist()
        shares = [count / max(sum(counts), 1.0) for count in counts]
        entropy = -sum(share * math.log(share) for share in shares if share > 0)
        return Window(
            round=round_number,
            student_loss=student / max(student_steps, 1.0),
            generator_loss=generator / max(generator_steps, 1.0),
            agreement=agreed / max(images, 1.0),
            class_entropy=entropy / math.log(len(shares)) if len(shares) > 1 else 1.0,
            largest_class_share=max(shares),
            student_top1=student_top1,
            teacher_faults=int(self.faults.item()),
            divergence_generator=divergences.get("divergence_generator"),
            divergence_ema=divergences.get("divergence_ema"),
        )


class GeneratorDivergence:
    """How far a generator's step moves the student's predictions, on fixed noise.

    Do et al. 2022 plot the Jensen-Shannon divergence of these for the generator and its EMA.
    That it is taken on the same noise, with the student in eval mode, is madpipe's reading.
    Measuring changes nothing of the training.
    """

    def __init__(
        self,
        student: nn.Module,
        generators: Mapping[str, Generator],
        compute: Compute,
        group: Group,
        seen: Callable[[Tensor], Tensor] = lambda x_BCHW: x_BCHW,
    ) -> None:
        """Sample the noise from a generator of its own, so that the training's is not moved.

        `seen` gives a generator's images as the student sees them.
        """
        self._student = student
        self._generators = generators
        self._compute = compute
        self._group = group
        self._seen = seen
        rng = torch.Generator(device=compute.device).manual_seed(_PROBE_SEED)
        first = next(iter(generators.values()))
        self._inputs = NoiseSampler(rng, first, Group()).sample(_PROBES)

    @torch.no_grad()
    def predict(self) -> dict[str, Tensor]:
        """Return the student's logits of shape BK on each generator's images."""
        generators, was_training = self._generators, self._student.training
        self._student.eval()
        with (
            self._group.local_only(),
            untracked(*generators.values()),
            self._compute.autocast(),
            self._compute.eager(),
        ):
            logits = {
                name: self._student(self._seen(generator(*self._inputs))).float()
                for name, generator in generators.items()
            }
        self._student.train(was_training)
        return logits

    @staticmethod
    def between(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the Jensen-Shannon divergence in nats for each generator, by its figure's name."""
        return {f"divergence_{name}": losses.js(before[name], after[name], 1.0) for name in before}


def save_curves(path: Path, windows: Sequence[Window]) -> None:
    """Write one line of JSON for each window."""
    write_bytes(path, b"".join(msgspec.json.encode(window) + b"\n" for window in windows))


def run_metrics(windows: Sequence[Window]) -> dict[str, float]:
    """Return means over the run, and how the monitored accuracy went, where it was followed.

    Mean and variance of the accuracy over time are those by which the field measures
    forgetting (Binici et al. 2022); they are in fractions and squared fractions.
    """
    metrics = {"class_entropy": windows[-1].class_entropy} if windows else {}
    for name in ("divergence_generator", "divergence_ema"):
        values = [value for window in windows if (value := getattr(window, name)) is not None]
        if values:
            metrics[name] = statistics.fmean(values)
    top1 = [window.student_top1 for window in windows if window.student_top1 is not None]
    if top1:
        metrics["monitor_top1_last"] = top1[-1]
        metrics["monitor_top1_best"] = max(top1)
        metrics["monitor_top1_mean"] = statistics.fmean(top1)
        metrics["monitor_top1_variance"] = statistics.pvariance(top1)
    return metrics

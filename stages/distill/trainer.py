"""The game of Momentum Adversarial Distillation: its players, one round, and its state.

Do et al., NeurIPS 2022 (arXiv 2209.10359). Generator G seeks images on which student and
teacher differ; the student learns on images of G and of an exponential moving average of G,
which forgets slowly and so keeps the student from forgetting. The methods that it is judged
against are the same game with other data in `methods.py`.

Shape legend: B batch, Z noise, C channel, H W space, K classes.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import torch
from torch import Tensor, nn

from models.classifier import Classifier
from models.generator import Generator
from pipeline.settings import Distill
from stages.distill import ema as averaging
from stages.distill import methods, optimisers
from stages.distill.bn_stats import BNStatsLoss
from stages.distill.distributed.group import Group
from stages.distill.distributed.sync_batchnorm import share
from stages.distill.divergence import Divergence
from stages.distill.frozen_teacher import frozen
from stages.distill.generator_loss import generator_loss
from stages.distill.memory import Memory
from stages.distill.metrics import MetricAccumulator, Window
from stages.distill.sampler import Draw, NoiseSampler
from stages.training import augment
from stages.training import device as devices
from stages.training.checkpoint_io import State
from stages.training.device import Compute
from stages.training.schedule import one_cycle

_STUDENT_WARMUP = 0.1
_MEMORY_SHARE = 8
_WINDOWS = 50
_FIRST_IMAGES = 8


class _Part(Protocol):
    """What a checkpoint holds a piece of."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, saved: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class SyntheticBatch:
    """Images for the student and what the teacher says of them."""

    x_BCHW: Tensor
    teacher_BK: Tensor
    weights: tuple[float, ...]
    """Of each part in the loss; the parts are of equal size, one after the other."""


class DistillTrainer:
    """Teacher, student, generator and its EMA, and the optimisers of those that learn."""

    def __init__(
        self,
        *,
        teacher: Classifier,
        student: Classifier,
        generator: Generator,
        options: Distill,
        compute: Compute,
        rng: torch.Generator,
        group: Group | None = None,
    ) -> None:
        """Bring the players to their places. The teacher is frozen for good."""
        self.options = options
        self.terms = methods.terms(options)
        self.compute = compute
        self.group = group or Group()
        self.rng = rng
        self.round = 0
        self.pretrained = 0
        self.windows: list[Window] = []
        device = compute.device
        self.teacher = teacher.to(device).eval().requires_grad_(requires_grad=False)
        self.student = student.to(device).train()
        share(self.student, self.group)
        self.generator = compute.placed(generator).train()
        share(self.generator, self.group)
        self.ema = averaging.copied(self.generator, options.ema_batch_norm)
        self.moments = BNStatsLoss(self.teacher, self.group)
        self.dice = NoiseSampler(rng, generator, self.group)
        self.micro_batch = options.batch_size // options.accumulation_steps // self.group.size
        self.student_optimiser = optimisers.of_student(self.student, options)
        self.generator_optimiser = optimisers.of_generator(self.generator, options)
        shape = (generator.channels, generator.image_size_px, generator.image_size_px)
        self.memory = Memory(
            options.memory_size if self.terms.past == "memory" else 1, shape, device
        )
        self.frozen = self._frozen()
        self.tally = MetricAccumulator(self._num_classes, device)
        compiled = [self.student, self.generator, self.ema]
        compute.compile(options.compile, *compiled, *([self.frozen] if self.is_folded else []))
        followed = {"generator": self.generator}
        if self.terms.past == "ema":
            followed["ema"] = self.ema
        self.divergence = Divergence(self.student, followed, compute, self.group)
        self.divergences: dict[str, Tensor] = {}
        self._draw: list[SyntheticBatch] = []

    @torch.no_grad()
    def _frozen(self) -> nn.Module:
        """Return the teacher as student steps use it, and count its classes on the way."""
        with self.group.apart(), averaging.untracked(self.generator):
            x_BCHW = self.generator(*_first_draw(self.generator, self.compute.device))
        self._num_classes = self.teacher(x_BCHW).shape[1]
        folded = frozen(self.teacher, x_BCHW, self.compute.dtype)
        self.is_folded = folded is not None
        return folded if folded is not None else self.teacher

    @property
    def window_rounds(self) -> int:
        """Rounds in one window of the curves."""
        return max(1, self.options.rounds // _WINDOWS)

    @property
    def window_is_full(self) -> bool:
        """Tell whether a window ends with the round just played."""
        return self.round % self.window_rounds == 0 or self.round == self.options.rounds

    @property
    def student_samples(self) -> int:
        """Images that the student has learned from so far, in all processes together."""
        has_fresh = self.terms.lambda0 > 0 or self.terms.past == "memory"
        sources = int(has_fresh) + int(self.terms.past is not None)
        return sources * self.options.batch_size * self.options.student_steps * self.round

    def pretrain_step(self) -> None:
        """Take a generator step without the adversarial term; the EMA begins where it ends."""
        self._generator_step(adversarial=False)
        self.pretrained += 1
        if self.pretrained == self.options.pretrain_steps:
            self.ema.load_state_dict(self.generator.state_dict())

    def train_round(self) -> None:
        """Take the generator steps and the student steps of one round."""
        measured = (self.round + 1) % self.window_rounds == 0 and self.group.rank == 0
        before = self.divergence.look() if measured else {}
        for _ in range(self.options.generator_steps):
            self._generator_step()
            averaging.follow(
                self.ema, self.generator, self.options.alpha, self.options.ema_batch_norm
            )
        if measured:
            self.divergences = self.divergence.between(before, self.divergence.look())
        first = self.round * self.options.student_steps
        for number in range(self.options.student_steps):
            if number % self.options.draw_every == 0:
                self._draw = [self._drawn() for _ in range(self.options.accumulation_steps)]
            self._student_step(first + number, self._draw)
        self._draw = []
        self.round += 1

    def close_window(self, student_top1: float | None = None) -> Window:
        """Return the window that ends here and remember it; the next one begins."""
        divergences = {name: each.item() for name, each in self.divergences.items()}
        window = self.tally.read(self.round, divergences, student_top1)
        self.divergences = {}
        self.windows.append(window)
        return window

    def _generator_step(self, *, adversarial: bool = True) -> Tensor:
        """Move G towards images that student and teacher judge differently."""
        # Only the gradient of the images is wanted, not that of the student's weights.
        self.student.eval().requires_grad_(requires_grad=False)
        self.generator_optimiser.zero_grad()
        total = torch.zeros((), device=self.compute.device)
        for _ in range(self.options.accumulation_steps):
            loss = self._generator_loss(adversarial=adversarial)
            (loss / self.options.accumulation_steps).backward()  # type: ignore[no-untyped-call]
            total += loss.detach() / self.options.accumulation_steps
        self.group.average_gradients(self.generator.parameters())
        self.generator_optimiser.step()
        self.student.train().requires_grad_(requires_grad=True)
        self.tally.generator_step(total)
        return total

    def _generator_loss(self, *, adversarial: bool) -> Tensor:
        z_BZ, y_B = self.dice.throw(self.micro_batch)
        with self.moments.watched() as moment_terms, self.compute.autocast():
            x_BCHW = self.generator(z_BZ, y_B)
            teacher_BK = self.teacher(x_BCHW).float()
            student_BK = self.student(x_BCHW).float() if adversarial else None
        embedding = self.generator.embedding
        return generator_loss(
            self.terms,
            self.group,
            teacher_BK=teacher_BK,
            student_BK=student_BK,
            moment_terms=moment_terms,
            y_B=y_B,
            embedding_KZ=None if embedding is None else embedding.weight,
        )

    @torch.no_grad()
    def _drawn(self) -> SyntheticBatch:
        """Draw images for the student and ask the teacher about them."""
        parts: list[Tensor] = []
        weights: list[float] = []
        with self.compute.autocast():
            if self.terms.lambda0 > 0 or self.terms.past == "memory":
                parts.append(self.generator(*self.dice.throw(self.micro_batch)))
                weights.append(self.terms.lambda0)
            if self.terms.past == "ema":
                parts.append(self.ema(*self.dice.throw(self.micro_batch)))
                weights.append(self.terms.lambda1)
            elif self.terms.past == "memory":
                self.memory.push(parts[0][: max(1, len(parts[0]) // _MEMORY_SHARE)])
                parts.append(self.memory.draw(self.micro_batch, self.rng))
                weights.append(self.terms.lambda1)
            if self.options.augment == "shift":
                parts = [augment.shifted(x, self.dice.steps(len(x))) for x in parts]
            x_BCHW = torch.cat(parts) if len(parts) > 1 else parts[0].clone()
            teacher_BK = self.frozen(x_BCHW).float().clone()
        self.tally.drawn(teacher_BK[: self.micro_batch])
        return SyntheticBatch(x_BCHW, teacher_BK, tuple(weights))

    def _student_step(self, step: int, draw: list[SyntheticBatch]) -> Tensor:
        """Move the student towards the teacher on images of G and of its EMA or the memory."""
        options = self.options
        self.student_optimiser.param_groups[0]["lr"] = one_cycle(
            step,
            options.rounds * options.student_steps,
            options.student_learning_rate,
            _STUDENT_WARMUP,
        )
        self.student_optimiser.zero_grad()
        total = torch.zeros((), device=self.compute.device)
        for fakes in draw:
            student_BK = self._judged(fakes)
            loss = self._student_loss(student_BK, fakes)
            (loss / len(draw)).backward()  # type: ignore[no-untyped-call]
            total += loss.detach() / len(draw)
            self.tally.student_step(loss.detach(), student_BK.detach(), fakes.teacher_BK)
        self.group.average_gradients(self.student.parameters())
        self.student_optimiser.step()
        return total

    def _judged(self, fakes: SyntheticBatch) -> Tensor:
        """Return the student's logits, with one batch of statistics or one for each part."""
        with self.compute.autocast():
            if self.options.joint_batch:
                student_BK: Tensor = self.student(fakes.x_BCHW).float()
                return student_BK
            parts = fakes.x_BCHW.chunk(len(fakes.weights))
            return torch.cat([self.student(x_BCHW).float() for x_BCHW in parts])

    def _student_loss(self, student_BK: Tensor, fakes: SyntheticBatch) -> Tensor:
        size = len(student_BK) // len(fakes.weights)
        loss = student_BK.new_zeros(())
        for number, weight in enumerate(fakes.weights):
            part = slice(number * size, (number + 1) * size)
            distance = self.terms.distance(
                student_BK[part], fakes.teacher_BK[part], self.terms.temperature
            )
            loss = loss + weight * distance
        return loss

    def state(self) -> State:
        """Return all that decides the rounds to come, and the windows of those gone by."""
        numbers = {"round": self.round, "pretrained": self.pretrained}
        past = {"rng": self.rng.get_state(), "windows": msgspec.to_builtins(self.windows)}
        past["chance"] = devices.chance()
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return numbers | past | parts

    def restore(self, saved: State) -> None:
        """Go on from what `state` returned."""
        self.round, self.pretrained = saved["round"], saved["pretrained"]
        self.rng.set_state(saved["rng"])
        devices.set_chance(saved["chance"])
        self.windows = msgspec.convert(saved["windows"], list[Window])
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])

    def _parts(self) -> dict[str, _Part]:
        return {
            "student": self.student,
            "generator": self.generator,
            "ema": self.ema,
            "memory": self.memory,
            "tally": self.tally,
            "student_optimiser": self.student_optimiser,
            "generator_optimiser": self.generator_optimiser,
        }


def _first_draw(generator: Generator, device: torch.device) -> Draw:
    """Return a few inputs for the generator without touching the game's dice."""
    rng = torch.Generator(device=device).manual_seed(0)
    return NoiseSampler(rng, generator, Group()).throw(_FIRST_IMAGES)

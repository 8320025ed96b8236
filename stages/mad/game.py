"""The game of Momentum Adversarial Distillation: its players, one round, and its state.

Do et al., NeurIPS 2022 (arXiv 2209.10359). Generator G seeks images on which student and
teacher differ; the student learns on images of G and of an exponential moving average of G,
which forgets slowly and so keeps the student from forgetting.

Shape legend: B batch, Z noise, C channel, H W space, K classes.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.classifier import Classifier
from models.generator import Generator
from pipeline.settings import Distill
from stages.compute import Compute
from stages.mad import losses
from stages.mad.moments import Moments
from stages.progressfile import State
from stages.schedule import one_cycle

_STUDENT_WARMUP = 0.1
_ADAM_BETAS = (0.5, 0.999)


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses of one round, still on their device."""

    generator: Tensor
    student: Tensor


class Game:
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
    ) -> None:
        """Bring the players to their places. The teacher is frozen for good."""
        self.options = options
        self.compute = compute
        self.rng = rng
        self.round = 0
        device = compute.device
        self.teacher = teacher.to(device).eval().requires_grad_(requires_grad=False)
        self.student = student.to(device).train()
        self.generator = _on(generator, device).train()
        self.ema = copy.deepcopy(self.generator).requires_grad_(requires_grad=False)
        self.moments = Moments(self.teacher)
        self.distance = losses.DISTANCES[options.loss]
        self.has_ema = options.method == "mad" and options.lambda1 > 0
        self.student_optimiser = torch.optim.SGD(
            self.student.parameters(),
            lr=options.student_learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=options.student_weight_decay,
            fused=True,
        )
        self.generator_optimiser = torch.optim.Adam(
            self.generator.parameters(),
            lr=options.generator_learning_rate,
            betas=_ADAM_BETAS,
            fused=True,
        )

    def play_round(self) -> Losses:
        """Take one generator step and the student steps that follow it."""
        generator_loss = self._generator_step()
        self._update_ema()
        first = self.round * self.options.student_steps
        losses_of_steps = [
            self._student_step(step) for step in range(first, first + self.options.student_steps)
        ]
        self.round += 1
        return Losses(generator_loss, losses_of_steps[-1])

    def _noise(self) -> Tensor:
        shape = (self.options.batch_size, self.options.noise_dim)
        return torch.randn(shape, generator=self.rng, device=self.compute.device)

    def _generator_step(self) -> Tensor:
        """Move G towards images that student and teacher judge differently."""
        options = self.options
        # Only the gradient of the images is wanted, not that of the student's weights.
        self.student.eval().requires_grad_(requires_grad=False)
        with self.moments.watched() as moment_terms, self.compute.autocast():
            x_BCHW = self.generator(self._noise())
            teacher_BK = self.teacher(x_BCHW).float()
            student_BK = self.student(x_BCHW).float()
        loss = -options.adversarial_weight * self.distance(
            student_BK, teacher_BK, options.temperature
        )
        if moment_terms:
            loss = loss + options.batch_norm_weight * torch.stack(moment_terms).sum()
        loss = loss + options.one_hot_weight * losses.one_hot(teacher_BK)
        loss = loss + options.balance_weight * losses.imbalance(teacher_BK)
        self.generator_optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.generator_optimiser.step()
        self.student.train().requires_grad_(requires_grad=True)
        return loss.detach()

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Move the EMA generator: theta' <- alpha theta' + (1 - alpha) theta.

        BatchNorm statistics are copied: G normalises by its batch, and so does its EMA, so
        they serve only whoever uses either generator for inference.
        """
        share = 1 - self.options.alpha
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.generator.parameters()), share)
        for mine, theirs in zip(self.ema.buffers(), self.generator.buffers(), strict=True):
            mine.copy_(theirs)

    def _student_step(self, step: int) -> Tensor:
        """Move the student towards the teacher on images of G and of its EMA."""
        options = self.options
        with torch.no_grad(), self.compute.autocast():
            x_BCHW = self.generator(self._noise())
            if self.has_ema:
                x_BCHW = torch.cat([x_BCHW, self.ema(self._noise())])
            teacher_BK = self.teacher(x_BCHW).float()
        with self.compute.autocast():
            student_BK = self.student(x_BCHW).float()
        size = options.batch_size
        loss = options.lambda0 * self.distance(
            student_BK[:size], teacher_BK[:size], options.temperature
        )
        if self.has_ema:
            loss = loss + options.lambda1 * self.distance(
                student_BK[size:], teacher_BK[size:], options.temperature
            )
        self.student_optimiser.param_groups[0]["lr"] = one_cycle(
            step,
            options.rounds * options.student_steps,
            options.student_learning_rate,
            _STUDENT_WARMUP,
        )
        self.student_optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.student_optimiser.step()
        return loss.detach()

    def state(self) -> State:
        """Return all that decides the rounds to come."""
        return {"round": self.round, "rng": self.rng.get_state()} | {
            name: part.state_dict() for name, part in self._parts().items()
        }

    def restore(self, saved: State) -> None:
        """Go on from what `state` returned."""
        self.round = saved["round"]
        self.rng.set_state(saved["rng"])
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "student": self.student,
            "generator": self.generator,
            "ema": self.ema,
            "student_optimiser": self.student_optimiser,
            "generator_optimiser": self.generator_optimiser,
        }


def _on(generator: Generator, device: torch.device) -> Generator:
    moved: Generator = generator.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved

"""Momentum Adversarial Distillation: the networks, one training round, the loop, and the state.

Do et al., NeurIPS 2022 (arXiv 2209.10359). Generator G seeks images on which student and
teacher differ; the student learns on images of G and of an exponential moving average of G,
which forgets slowly and so keeps the student from forgetting. The methods that it is compared
with are the same loop with other data in `methods.py`.

Shape legend: B batch, Z noise, C channel, H W space, K classes.
"""

import math
from collections.abc import Callable

import msgspec
import torch
from torch import Tensor, nn

from models.classifier import Classifier
from models.generator import Generator
from pipeline.settings import Distill
from stages.distill import losses, methods, optimisers, priors
from stages.distill.batch_norm import BNStatsLoss, convert_sync_batchnorm
from stages.distill.distributed.group import Group
from stages.distill.frozen_teacher import fold_batch_norm
from stages.distill.image_scale import ImageScale
from stages.distill.metrics import GeneratorDivergence, MetricAccumulator, Window
from stages.distill.noise_images import NoiseImages
from stages.distill.sampler import Memory, NoiseSampler, StudentBatch, probe_images
from stages.distill.unlabelled import UnlabelledSource
from stages.training import device as devices
from stages.training.device import Compute
from stages.training.ema import ema_copy, ema_update
from stages.training.schedule import one_cycle
from stages.training.state_file import State

_STUDENT_WARMUP = 0.1
_MEMORY_SHARE = 8
_WINDOWS = 50


class DistillTrainer:
    """Teacher, student, generator and its EMA, and the optimisers of those that learn."""

    params_from_teacher: int = 0
    """Of the student's parameters, those that started as the teacher's."""
    unlabelled: UnlabelledSource | None = None
    """Real images beside the synthetic ones, where the settings name some."""

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
        """Bring the networks to the device and make what trains them. The teacher is frozen."""
        self.options = options = priors.with_defaults(options, teacher)
        self.terms = methods.loss_terms(options)
        self.scale = ImageScale(options, generator)
        shape = (generator.channels, *self.scale.native_px)
        self.recipe = methods.recipe(options, math.prod(shape))
        self.compute = compute
        self.group = group or Group()
        self.rng = rng
        self.round = self.pretrained = 0
        self.last_round, self.last_pretrain_step = options.rounds, options.pretrain_steps
        self.windows: list[Window] = []
        self.teacher = teacher.to(compute.device).eval().requires_grad_(requires_grad=False)
        self.student = compute.placed(student).train()
        convert_sync_batchnorm(self.student, self.group)
        self._learning = [p for p in self.student.parameters() if p.requires_grad]
        self.generator = compute.placed(generator).train()
        self.generator.gives_native = True
        convert_sync_batchnorm(self.generator, self.group)
        self.ema = ema_copy(self.generator).train(options.ema_batch_norm == "batch")
        self.sampler = NoiseSampler(rng, generator, self.group)
        self.micro_batch = options.batch_size // options.accumulation_steps // self.group.size
        self.student_optimiser = optimisers.of_student(self.student, self.recipe)
        self.generator_optimiser = optimisers.of_generator(
            self.generator, options.generator_learning_rate
        )
        self.frozen_teacher = self._freeze_teacher()
        num_classes = self.metrics.classes_K.numel()
        self.memory = Memory(self.recipe.memory_size, shape, compute.device, num_classes)
        self.bn_stats = BNStatsLoss(self.teacher, self.group)
        self.priors = priors.Priors(self.bn_stats, options, self.scale.full_px, self.group)
        self.noise = NoiseImages(rng, self.teacher, shape[1:], self.group)
        self.compiled: list[nn.Module] = [self.student, self.generator, self.ema]
        self.compiled += [self.frozen_teacher] if self.is_folded else []
        self.compiled += [] if self.group.is_distributed else [self.bn_stats]
        # Replays write over gradients that are still to be added up or sent to other processes.
        can_replay = options.accumulation_steps == 1 and not self.group.is_distributed
        self.compile_mode = compute.compile_mode(options.compile, can_replay=can_replay)
        compute.compile(self.compile_mode, *self.compiled)
        sources = {"generator": self.generator}
        if self.recipe.second_source == "ema":
            sources["ema"] = self.ema
        self.divergence = GeneratorDivergence(
            self.student, sources, compute, self.group, self.scale.seen
        )
        self.divergences: dict[str, Tensor] = {}

    def _freeze_teacher(self) -> nn.Module:
        """Return the teacher as student steps use it, and begin to count its classes."""
        x_BCHW = self.scale.full(probe_images(self.generator, self.compute.device, self.group))
        self.metrics = MetricAccumulator(self.teacher(x_BCHW).shape[1], self.compute.device)
        folded = fold_batch_norm(self.teacher, x_BCHW, self.compute.dtype)
        self.is_folded = folded is not None
        return folded if folded is not None else self.teacher

    @property
    def window_rounds(self) -> int:
        """Training rounds in one window of the curves."""
        return max(1, self.options.rounds // _WINDOWS)

    @property
    def window_is_full(self) -> bool:
        """Whether a window ends with the last training round."""
        return self.round % self.window_rounds == 0 or self.round == self.last_round

    @property
    def student_samples(self) -> int:
        """Images that the student has learned from so far, in all processes together."""
        return self.recipe.step_images * self.options.student_steps * self.round

    @property
    def _uses_generator(self) -> bool:
        """Whether the student's images come from the generator, directly or by the memory."""
        return self.options.lambda0 > 0 or self.recipe.second_source == "memory"

    def run(
        self,
        *,
        on_pretrain_step: Callable[[], None] = lambda: None,
        on_round: Callable[[], None] = lambda: None,
        on_note: Callable[[str], None] = lambda _: None,
        monitor: Callable[[], float] | None = None,
    ) -> None:
        """Take all steps that are left: those of pretraining, then the training rounds.

        Every process of a group runs it; rank 0 adds what only one of them does.

        Args:
            on_pretrain_step: Called after each step of pretraining.
            on_round: Called after each training round, with its window closed where one ends.
            on_note: Called with why the networks run eager, where torch.compile fails on them.
            monitor: Measures the student's top-1 at the end of each window.
        """

        def compiled(step: Callable[[], None]) -> None:
            try:
                step()
            except RuntimeError as error:
                # Several processes would lose step with each other: of them none tries again.
                mode = self.compile_mode if self.group.is_distributed else self.options.compile
                on_note(self.compute.give_up_compiling(error, mode, *self.compiled))
                self.compile_mode = "off"
                step()

        while self.pretrained < self.last_pretrain_step:
            compiled(self.pretrain_step)
            on_pretrain_step()
        while self.round < self.last_round:
            compiled(self.train_round)
            if self.window_is_full:
                self.close_window(monitor() if monitor else None)
            on_round()

    def pretrain_step(self) -> None:
        """Take a generator step without the adversarial term; the EMA begins where it ends."""
        self.scale.enter(0)
        self.generator_step(adversarial=False)
        self.pretrained += 1
        if self.pretrained == self.last_pretrain_step:
            self.ema.load_state_dict(self.generator.state_dict())

    def train_round(self) -> None:
        """Take the generator steps and the student steps of one round."""
        options = self.options
        if self.scale.enter(self.round):
            self.memory.clear()  # what the teacher said of images as they were seen before
        is_measured = (self.round + 1) % self.window_rounds == 0 and self.group.rank == 0
        before = self.divergence.predict() if is_measured else {}
        averaged = options.ema_batch_norm == "averaged"
        for _ in range(options.generator_steps):
            self.generator_step()
            ema_update(self.ema, self.generator, options.alpha, average_statistics=averaged)
        if is_measured:
            self.divergences = self.divergence.between(before, self.divergence.predict())
        first = self.round * options.student_steps
        batches: list[StudentBatch] = []
        for number in range(options.student_steps):
            is_drawn = number % self.recipe.draw_every == 0
            if is_drawn:
                batches = [self.sample_batch() for _ in range(options.accumulation_steps)]
            if self.recipe.is_replayed:
                batches = self.replay()
            if self.unlabelled and (is_drawn or self.recipe.is_replayed):
                batches = self.unlabelled.joined(batches)
            self.student_step(first + number, batches)
        self.round += 1

    def close_window(self, student_top1: float | None = None) -> Window:
        """Return the window that ends here and remember it; the next one begins."""
        divergences = {name: value.item() for name, value in self.divergences.items()}
        window = self.metrics.read(self.round, divergences, student_top1)
        self.divergences = {}
        self.windows.append(window)
        return window

    def generator_step(self, *, adversarial: bool = True) -> Tensor:
        """Move G towards images on which student and teacher differ; return its loss."""
        # Only the gradient of the images is wanted, not that of the student's weights.
        self.student.eval().requires_grad_(requires_grad=False)
        self.generator_optimiser.zero_grad()
        total = torch.zeros((), device=self.compute.device)
        for _ in range(self.options.accumulation_steps):
            z_BZ, y_B = self.sampler.sample(self.micro_batch)
            with self.compute.autocast():
                x_BCHW = self.scale.seen(self.generator(z_BZ, y_B))
                teacher_BK, bn_stats_terms, prior_loss = self.priors(x_BCHW)
                student_BK = self.student(x_BCHW).float() if adversarial else None
            self.metrics.add_teacher(x_BCHW.detach(), teacher_BK.detach())
            embedding = self.generator.embedding
            loss = losses.generator_loss(
                self.terms,
                self.group,
                teacher_BK=teacher_BK.float(),
                student_BK=student_BK,
                bn_stats_terms=bn_stats_terms,
                y_B=y_B,
                embedding_KZ=None if embedding is None else embedding.weight,
                prior=prior_loss,
            )
            (loss / self.options.accumulation_steps).backward()  # type: ignore[no-untyped-call]
            total += loss.detach() / self.options.accumulation_steps
        self.group.average_gradients(self.generator.parameters())
        self.generator_optimiser.step()
        self.student.train()
        for parameter in self._learning:
            parameter.requires_grad_()
        self.metrics.add_generator_step(total)
        return total

    @torch.no_grad()
    def sample_batch(self) -> StudentBatch:
        """Return images of G and of the second source, with the teacher's logits of them."""
        parts: list[Tensor] = []
        weights: list[float] = []
        with self.compute.autocast():
            if self._uses_generator:
                parts.append(self._owned(self.generator(*self.sampler.sample(self.micro_batch))))
                weights.append(self.options.lambda0)
            if self.recipe.second_source == "ema":
                parts.append(self._owned(self.ema(*self.sampler.sample(self.micro_batch))))
                weights.append(self.options.lambda1)
            elif self.recipe.second_source == "memory":
                self.memory.push(parts[0][: max(1, len(parts[0]) // _MEMORY_SHARE)])
                parts.append(self.memory.sample(self.micro_batch, self.rng))
                weights.append(self.options.lambda1)
            for _ in range(self.recipe.noise_batches):
                parts.append(self.noise.sample(self.micro_batch))
                weights.append(1.0)
            how, colour_jitter = self.options.augment, self.options.colour_jitter
            parts = [self.sampler.augmented(x_BCHW, how, colour_jitter) for x_BCHW in parts]
            native_BCHW = torch.cat(parts) if len(parts) > 1 else parts[0].clone()
            x_BCHW = self.scale.seen(native_BCHW)
            teacher_BK = self.frozen_teacher(x_BCHW).float().clone()
        self.metrics.add_teacher(x_BCHW, teacher_BK)
        self.metrics.add_batch(teacher_BK[: self.micro_batch])
        if self.recipe.is_replayed:
            self.memory.push(native_BCHW, teacher_BK)
        return StudentBatch(x_BCHW, teacher_BK, tuple(weights))

    def replay(self) -> list[StudentBatch]:
        """Return the parts of one batch, from all that is remembered."""
        parts = self.options.accumulation_steps
        count = self.recipe.student_batch_size // parts
        samples = [self.memory.sample_pairs(count, self.rng) for _ in range(parts)]
        return [StudentBatch(self.scale.seen(x_BCHW), y_BK, (1.0,)) for x_BCHW, y_BK in samples]

    def _owned(self, x_BCHW: Tensor) -> Tensor:
        """Return images that later passes leave alone; CUDA graphs write over their outputs."""
        return x_BCHW.clone() if self.compile_mode == "cuda-graphs" else x_BCHW

    def student_step(self, step: int, batches: list[StudentBatch]) -> Tensor:
        """Move the student towards the teacher on the images of `batches`; return its loss.

        Args:
            step: Of all student steps of the run, from 0; it decides the learning rate.
            batches: The parts of one batch, one after the other in memory.
        """
        options = self.options
        steps = options.rounds * options.student_steps
        rate = one_cycle(step, steps, self.recipe.student_learning_rate, _STUDENT_WARMUP)
        self.student_optimiser.param_groups[0]["lr"] = rate
        self.student_optimiser.zero_grad()
        total = torch.zeros((), device=self.compute.device)
        for batch in batches:
            student_BK = self.student_logits(batch)
            loss = losses.student_loss(self.terms, student_BK, batch.teacher_BK, batch.weights)
            (loss / len(batches)).backward()  # type: ignore[no-untyped-call]
            total += loss.detach() / len(batches)
            self.metrics.add_student_step(loss.detach(), *batch.synthetic(student_BK.detach()))
        self.group.average_gradients(self.student.parameters())
        self.student_optimiser.step()
        return total

    def student_logits(self, batch: StudentBatch) -> Tensor:
        """Return the student's logits, with one batch of statistics or one for each part."""
        parts = batch.x_BCHW.chunk(1 if self.options.joint_batch else len(batch.weights))
        with self.compute.autocast():
            return torch.cat([self.student(x_BCHW).float() for x_BCHW in parts])

    def state(self) -> State:
        """Return all that decides the rounds to come, and the windows of those gone by."""
        return {
            "round": self.round,
            "pretrained": self.pretrained,
            "windows": msgspec.to_builtins(self.windows),
            "rng": devices.generator_state(self.rng),
            "rng_state": devices.rng_state(),
            **{name: part.state_dict() for name, part in self._parts().items()},
        }

    def restore(self, saved: State) -> str | None:
        """Go on from what `state` returned; returns what is to be said of that, or None."""
        self.round, self.pretrained = saved["round"], saved["pretrained"]
        note = devices.restore_generator(self.rng, saved["rng"], self.round)
        devices.set_rng_state(saved["rng_state"])
        self.windows = msgspec.convert(saved["windows"], list[Window])
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        return note

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "student": self.student,
            "generator": self.generator,
            "ema": self.ema,
            "memory": self.memory,
            "metrics": self.metrics,
            "student_optimiser": self.student_optimiser,
            "generator_optimiser": self.generator_optimiser,
        }

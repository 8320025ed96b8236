"""The distillation loop as it is commonly written: the other side of `distill.py throughput`.

fp32, eager, NCHW, a fresh draw and a forward pass of the teacher at every student step, hooks
that copy activations for the moment term, a Python loop for the EMA, losses read at each step.
The networks, losses, optimisers and schedule are those of the run that it is compared with, for the
methods mad, abm and dfkd-mem with their own loss (l1).

Shape legend: B batch, Z noise, C channel, H W space, K classes.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.settings import Distill
from stages.distill import methods
from stages.training.schedule import one_cycle


class UpsampledConvolution(nn.Module):
    """Nearest-neighbour upsampling, then a 3x3 convolution over the large map."""

    def __init__(self, weight: nn.Parameter) -> None:
        """Take the weights of the generator's own layer."""
        super().__init__()
        self.weight = weight

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the convolved map of twice the height and width."""
        doubled_BCHW = functional.interpolate(x_BCHW, scale_factor=2, mode="nearest")
        return functional.conv2d(doubled_BCHW, self.weight, padding=1)


class PlainLoop:
    """Teacher, student, generator and EMA, one round at a time."""

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        generator: nn.Module,
        options: Distill,
        device: torch.device | None = None,
    ) -> None:
        """Bring the networks to the device and the common layout and make the optimisers."""
        self.options = options
        self.recipe = methods.recipe(options, 1)
        self.memory_NCHW = torch.empty(0)
        self.steps = 0
        self.device = device or torch.device("cpu")
        plain = torch.contiguous_format
        self.teacher = teacher.to(self.device).to(memory_format=plain).eval()
        self.student = student.to(self.device).to(memory_format=plain).train()
        self.generator = generator.to(self.device).to(memory_format=plain).train()
        for parent in list(self.generator.modules()):
            for name, child in parent.named_children():
                if type(child).__name__ == "UpsampleConv2d":
                    assert isinstance(child.weight, nn.Parameter)
                    setattr(parent, name, UpsampledConvolution(child.weight))
        self.ema = copy.deepcopy(self.generator)
        self.student_optimiser = torch.optim.SGD(
            self.student.parameters(),
            lr=self.recipe.student_learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=self.recipe.student_weight_decay,
        )
        self.generator_optimiser = torch.optim.Adam(
            self.generator.parameters(), lr=options.generator_learning_rate, betas=(0.5, 0.999)
        )
        self.terms: list[Tensor] = []
        for module in self.teacher.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_hook(self._watch)

    def _watch(self, module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        assert module.running_mean is not None
        assert module.running_var is not None
        flat_CN = inputs[0].permute(1, 0, 2, 3).contiguous().view(inputs[0].shape[1], -1)
        mean_C, var_C = flat_CN.mean(1), flat_CN.var(1, unbiased=False)
        term = torch.norm(module.running_mean - mean_C) + torch.norm(module.running_var - var_C)
        self.terms.append(term)

    def _noise(self) -> Tensor:
        return torch.randn(self.options.batch_size, self.options.noise_dim, device=self.device)

    def train_round(self) -> None:
        """Take the generator step and the student steps of one round."""
        self._generator_step()
        for _ in range(self.options.student_steps):
            self._student_step()

    def _generator_step(self) -> None:
        self.student.eval()
        self.terms.clear()
        x_BCHW = self.generator(self._noise())
        teacher_BK, student_BK = self.teacher(x_BCHW), self.student(x_BCHW)
        mean_K = teacher_BK.softmax(dim=1).mean(dim=0)
        loss = -functional.l1_loss(student_BK, teacher_BK)
        loss = loss + torch.stack(self.terms).sum()
        loss = loss + functional.cross_entropy(teacher_BK, teacher_BK.argmax(dim=1))
        loss = loss + (mean_K * mean_K.log()).sum()
        self.generator_optimiser.zero_grad()
        loss.backward()
        self.generator_optimiser.step()
        loss.item()
        for average, weight in zip(self.ema.parameters(), self.generator.parameters(), strict=True):
            average.data.mul_(self.options.alpha).add_(weight.data, alpha=1 - self.options.alpha)

    @torch.no_grad()
    def _images(self) -> list[Tensor]:
        """Return a fresh batch of each source of the method."""
        images = [self.generator(self._noise())]
        if self.recipe.second_source == "ema":
            images.append(self.ema(self._noise()))
        elif self.recipe.second_source == "memory":
            few = max(1, len(images[0]) // 8)
            seen = [images[0][:few], *([self.memory_NCHW] if len(self.memory_NCHW) else [])]
            self.memory_NCHW = torch.cat(seen)[: self.recipe.memory_size]
            rows_B = torch.randint(len(self.memory_NCHW), (len(images[0]),))
            images.append(self.memory_NCHW[rows_B])
        return images

    def _student_step(self) -> None:
        self.student.train()
        steps = self.options.rounds * self.options.student_steps
        rate = one_cycle(self.steps, steps, self.recipe.student_learning_rate, 0.1)
        self.student_optimiser.param_groups[0]["lr"] = rate
        self.steps += 1
        loss = torch.zeros((), device=self.device)
        for x_BCHW in self._images():
            with torch.no_grad():
                teacher_BK = self.teacher(x_BCHW)
            self.terms.clear()
            loss = loss + functional.l1_loss(self.student(x_BCHW), teacher_BK)
        self.student_optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.student_optimiser.step()
        loss.item()

"""A training under way: all that a checkpoint must hold, and one step of it.

Shape legend: N images, B batch, C channel, H W space, K classes.
"""

import copy

import torch
from torch import Tensor
from torch.nn import functional

from models.classifier import Classifier
from pipeline.settings import Teacher
from stages.data.images import Images
from stages.training import augment, checkpoint_io
from stages.training import device as devices
from stages.training.schedule import one_cycle, triangle

_WARMUP = 0.2


class Training:
    """SGD with Nesterov momentum and one learning-rate cycle on labelled images."""

    def __init__(
        self, network: Classifier, data: Images, options: Teacher, rng: torch.Generator
    ) -> None:
        """Begin a training of `network`; all that is drawn comes from `rng`, on the CPU."""
        self.place = devices.choose("auto")
        self.rng = rng
        self.network = network.to(self.place.device).train()
        self.average = copy.deepcopy(self.network) if options.weight_average else None
        self.data = data
        self.options = options
        self.optimiser = torch.optim.SGD(
            network.parameters(),
            lr=options.learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=options.weight_decay,
            fused=True,
        )
        self.batches = max(1, len(data.y_N) // options.batch_size)
        self.step = 0
        self.steps = self.batches * options.epochs
        self.order_N = torch.empty(0, dtype=torch.int64)
        self.coins_N = torch.empty(0, dtype=torch.bool)
        if options.augment == "shift-flip":
            self.coins_N = torch.randint(0, 2, (len(data.y_N),), generator=rng).bool()

    def advance(self) -> Tensor:
        """Take one step and return its loss."""
        if self.step % self.batches == 0:
            self.order_N = torch.randperm(len(self.data.y_N), generator=self.rng)
        first = self.step % self.batches * self.options.batch_size
        indices_B = self.order_N[first : first + self.options.batch_size]
        schedule = one_cycle if self.options.schedule == "cosine" else triangle
        rate = schedule(self.step, self.steps, self.options.learning_rate, _WARMUP)
        self.optimiser.param_groups[0]["lr"] = rate
        x_BCHW = self._augmented(self.data.batch(indices_B, self.place.device), indices_B)
        with self.place.autocast():
            logits_BK = self.network(x_BCHW)
        loss = functional.cross_entropy(
            logits_BK.float(),
            self.data.y_N[indices_B].to(self.place.device),
            label_smoothing=self.options.label_smoothing,
        )
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self._average()
        self.step += 1
        return loss.detach()

    def result(self) -> Classifier:
        """Return the network as trained, or the average of its weights where that was asked."""
        return self.network if self.average is None else self.average

    def state(self) -> checkpoint_io.State:
        """Return all that decides the steps to come."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "optimiser": self.optimiser.state_dict(),
            "rng": self.rng.get_state(),
            "chance": devices.chance(),
            "order": self.order_N,
            "coins": self.coins_N,
        }

    def restore(self, saved: checkpoint_io.State) -> None:
        """Go on from what `state` returned."""
        self.network.load_state_dict(saved["network"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.rng.set_state(saved["rng"])
        devices.set_chance(saved["chance"])
        self.step, self.order_N = saved["step"], saved["order"]
        self.coins_N = saved["coins"]

    def _augmented(self, x_BCHW: Tensor, indices_B: Tensor) -> Tensor:
        if self.options.augment == "none":
            return x_BCHW
        chosen_B = None
        if self.options.augment == "shift-flip":
            chosen_B = augment.mirrored(self.coins_N, indices_B, self.step // self.batches)
        steps_2B = augment.steps(len(x_BCHW), x_BCHW.shape[-1], self.rng)
        return augment.shifted(x_BCHW, steps_2B, chosen_B)

    @torch.no_grad()
    def _average(self) -> None:
        """Move the average towards the network, weights and BatchNorm statistics alike."""
        if self.average is None:
            return
        momentum = self.options.weight_average
        pairs = list(
            zip(
                self.average.state_dict().values(),
                self.network.state_dict().values(),
                strict=True,
            )
        )
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_(
            [each for each, _ in floats], [each for _, each in floats], 1 - momentum
        )
        for average, current in pairs:
            if not average.is_floating_point():
                average.copy_(current)

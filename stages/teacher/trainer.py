"""The trainer of a teacher: one step on labelled images, and the state that a checkpoint holds.

Shape legend: N images, B batch, C channel, H W space, K classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from models.classifier import Classifier
from pipeline.settings import Teacher
from stages.data.images import Images
from stages.training import augment, state_file
from stages.training import device as devices
from stages.training.ema import ema_copy, ema_update
from stages.training.schedule import one_cycle, triangle

_WARMUP = 0.2


class TeacherTrainer:
    """SGD with Nesterov momentum and one learning-rate cycle on labelled images."""

    def __init__(
        self,
        network: Classifier,
        data: Images,
        options: Teacher,
        rng: torch.Generator,
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Begin to train `network`, with the images on its device where they fit.

        Order and augmentation are sampled from `rng`, on the CPU, and brought to the device once
        an epoch: no step waits for the GPU, and all devices see the same images. `on_note` is
        called with why the network runs eager, where torch.compile fails on it.
        """
        self.on_note = on_note
        self.compute = devices.select("auto")
        self.rng = rng
        self.network = self.compute.placed(network).train()
        self.average = ema_copy(self.network) if options.weight_average else None
        self.compute.compile(self.compute.compile_mode("auto"), self.network)
        self.data = data.to(self.compute.device)
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
        self.epoch_losses: list[Tensor] = []
        """On the device, so that no step waits for it."""
        self._loss_sum = torch.zeros((), device=self.compute.device)
        self.steps = self.batches * options.epochs
        self.order_N = torch.empty(0, dtype=torch.int64)
        self.offsets = torch.empty(0, dtype=torch.int64)
        self.flip_start_N = torch.empty(0, dtype=torch.bool)
        if options.augment == "shift-flip":
            flip_start_N = torch.randint(0, 2, (len(data),), generator=rng).bool()
            self.flip_start_N = flip_start_N.to(self.compute.device)

    def train_step(self) -> Tensor:
        """Take one step and return its loss; the mean of an epoch's is kept at its end."""
        options = self.options
        epoch, batch = divmod(self.step, self.batches)
        if batch == 0:
            self._sample_epoch()
        first = batch * options.batch_size
        indices_B = self.order_N[first : first + options.batch_size]
        schedule = one_cycle if options.schedule == "cosine" else triangle
        rate = schedule(self.step, self.steps, options.learning_rate, _WARMUP)
        self.optimiser.param_groups[0]["lr"] = rate
        x_BCHW = self.data.batch(indices_B, self.compute.device)
        flipped_B = None
        if options.augment == "shift-flip":
            flipped_B = augment.alternating_flip(self.flip_start_N, indices_B, epoch)
        if options.augment != "none":
            x_BCHW = augment.random_shift(x_BCHW, self.offsets[batch], flipped_B)
        try:
            loss = self._backward(x_BCHW, self.data.y_N[indices_B])
        except RuntimeError as error:
            self.on_note(self.compute.give_up_compiling(error, "auto", self.network))
            loss = self._backward(x_BCHW, self.data.y_N[indices_B])
        self.optimiser.step()
        if self.average is not None:
            momentum = options.weight_average
            ema_update(self.average, self.network, momentum, average_statistics=True)
        self.step += 1
        self._loss_sum += loss
        if self.step % self.batches == 0:
            self.epoch_losses.append(self._loss_sum / self.batches)
            self._loss_sum.zero_()
        return loss

    def _backward(self, x_BCHW: Tensor, y_B: Tensor) -> Tensor:
        """Fill the gradients and return the loss, without its own."""
        self.optimiser.zero_grad()
        with self.compute.autocast():
            logits_BK = self.network(x_BCHW)
        smoothing = self.options.label_smoothing
        loss = functional.cross_entropy(logits_BK.float(), y_B, label_smoothing=smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _sample_epoch(self) -> None:
        """Sample the order of the images and where those of each batch are cropped."""
        count, device = len(self.data), self.compute.device
        self.order_N = torch.randperm(count, generator=self.rng).to(device)
        if self.options.augment != "none":
            shape = min(count, self.options.batch_size), tuple(self.data.x_NCHW.shape[2:])
            offsets = [augment.crop_offsets(*shape, self.rng) for _ in range(self.batches)]
            self.offsets = torch.stack(offsets).to(device)

    def result(self) -> Classifier:
        """Return the network as trained, or its moving average where the options have one."""
        return self.network if self.average is None else self.average

    def state(self) -> state_file.State:
        """Return all that decides the steps to come."""
        return {
            "step": self.step,
            "epoch_losses": list(self.epoch_losses),
            "loss_sum": self._loss_sum,
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "optimiser": self.optimiser.state_dict(),
            "rng": devices.generator_state(self.rng),
            "rng_state": devices.rng_state(),
            "order": self.order_N,
            "offsets": self.offsets,
            "flip_start": self.flip_start_N,
        }

    def restore(self, saved: state_file.State) -> str | None:
        """Go on from what `state` returned; returns what is to be said of that, or None."""
        self.network.load_state_dict(saved["network"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        note = devices.restore_generator(self.rng, saved["rng"], saved["step"])
        devices.set_rng_state(saved["rng_state"])
        self.step, device = saved["step"], self.compute.device
        self.order_N, self.offsets = saved["order"].to(device), saved["offsets"].to(device)
        self.flip_start_N = saved["flip_start"].to(device)
        self.epoch_losses = [loss.to(device) for loss in saved["epoch_losses"]]
        self._loss_sum = saved["loss_sum"].to(device)
        return note

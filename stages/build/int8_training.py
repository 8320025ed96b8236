"""int8 that is trained: a quantized graph learns to give the fp32 graph's logits despite rounding.

Quantisation-aware training (Jacob et al. 2018, section 3) of the very graph that runs, as
distillation from the student in fp32: on images of the distill stage's generators or, for a file
from anywhere, on the calibration images. Why not from the teacher is in docs/decisions/0011.

Imported by name, and only where something is trained: all of it needs torch.

Shape legend: B batch, N images, Z noise, C channel, H W space, K classes.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto, TensorProto
from torch import Tensor
from torch.nn import functional

from models.generator import Generator
from models.programs.onnx_graph import TorchGraph
from models.programs.onnx_shape_operators import UnsupportedNode
from pipeline.settings import Build
from pipeline.stage import Context, OnNote
from stages import generators
from stages.build.needs import training_batch
from stages.engines.base import OnProgress
from stages.image_bank import Images
from stages.onnxgraph.fake_quantized import FakeQuantizedGraph
from stages.training import device as devices
from stages.training import memory, state_file
from stages.training.state_file import State

_SMOKE_STEPS = 2
_UNIT = "int8 training steps"

Keep = Callable[[Callable[[Path], None]], None]
"""Saves by calling what it is given with a path, when that is due."""
Source = Callable[[torch.Generator], Tensor]
"""Returns images in [0, 1], of shape BCHW."""


class Int8Trainer:
    """Trains quantized graphs, each once, and goes on from a checkpoint."""

    def __init__(
        self,
        options: Build,
        source: Source,
        device: torch.device,
        *,
        seed: int,
        steps: int,
        on_progress: OnProgress,
        on_note: OnNote,
    ) -> None:
        """Train `steps` steps on images of `source`."""
        self._options = options
        self._source = source
        self._device = device
        self._seed = seed
        self._steps = steps
        self._on_progress = on_progress
        self._on_note = on_note
        self._finished: dict[str, State] = {}
        self._unfinished: State = {}
        self._keep: Keep | None = None

    def resume(self, checkpoint: Path | None, keep: Keep) -> None:
        """Go on from a checkpoint where there is one, and save more through `keep`."""
        self._keep = keep
        saved = state_file.load_if_sound(checkpoint, self._on_note)
        if saved is not None:
            self._finished, self._unfinished = saved["finished"], saved["unfinished"]

    def __call__(self, quantized: ModelProto, source: ModelProto) -> ModelProto | None:
        """Return a quantized graph with trained weights; None, with a note, where it cannot be.

        Args:
            quantized: As `qdq.quantize` returns it.
            source: The fp32 graph that it was made of.
        """
        digest = hashlib.sha256(quantized.SerializeToString(deterministic=True)).hexdigest()
        try:
            network = FakeQuantizedGraph(quantized, source).to(self._device)
            if digest in self._finished:
                network.load_state_dict(self._finished[digest])
            else:
                target = TorchGraph(source).to(self._device)
                is_bytes = quantized.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
                with devices.enough_memory("build.int8_batch_size", "lower it"):
                    self._train(network, target, digest, is_bytes=is_bytes)
        except UnsupportedNode as error:
            self._on_note(
                f"int8 is rounded, not trained: a node has no equivalent in torch ({error}); "
                'build.int8 = "rounded" says so'
            )
            return None
        return network.rounded()

    def _train(
        self, network: FakeQuantizedGraph, target: TorchGraph, digest: str, *, is_bytes: bool
    ) -> None:
        """Train a network from where it is, or from the checkpoint, to the last step."""
        rng = torch.Generator(device=self._device).manual_seed(self._seed)
        optimiser = torch.optim.Adam(network.parameters(), lr=self._options.int8_learning_rate)
        first = 0
        if self._unfinished.get("digest") == digest:
            first = self._unfinished["step"]
            network.load_state_dict(self._unfinished["network"])
            optimiser.load_state_dict(self._unfinished["optimiser"])
            note = devices.restore_generator(rng, self._unfinished["rng"], first)
            if note is not None:
                self._on_note(note)
        for step in range(first, self._steps):
            x = self._source(rng)
            if is_bytes:  # as `stages.engines.base.to_model_input`
                x = (x * 255).round().permute(0, 2, 3, 1)
            if step == first:
                self._warn_of_memory(network, x)
            with torch.no_grad():
                target_BK = target(x)
            peak = self._options.int8_learning_rate
            for group in optimiser.param_groups:
                group["lr"] = peak * (1 + math.cos(math.pi * step / self._steps)) / 2
            loss = functional.kl_div(
                network(x).log_softmax(dim=1),
                target_BK.log_softmax(dim=1),
                log_target=True,
                reduction="batchmean",
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            self._unfinished = {
                "digest": digest,
                "step": step + 1,
                "network": network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "rng": devices.generator_state(rng),
            }
            if self._keep is not None:
                self._keep(self._save)
            self._on_progress(step + 1, self._steps, _UNIT)
        self._finished[digest] = network.state_dict()
        self._unfinished = {}

    def _warn_of_memory(self, network: FakeQuantizedGraph, x: Tensor) -> None:
        """Say it where a step on images like `x` takes more memory than there is, or than 8 GiB."""
        probe = torch.empty((memory.PROBE_BATCH, *x.shape[1:]), dtype=x.dtype, device="meta")
        kept_bytes = memory.kept_bytes(network, lambda graph: graph(probe))
        if kept_bytes is None:
            return
        warning = memory.of_step([network], kept_bytes).warning(
            len(x),
            memory.available_bytes(self._device),
            "build.int8_batch_size = {}".format,
            step="a step of int8 training",
        )
        if warning:
            self._on_note(warning)

    def _save(self, path: Path) -> None:
        state_file.save(path, {"finished": self._finished, "unfinished": self._unfinished})


class _Generated:
    """Images of generators, as many of each, in the mode in which they are."""

    def __init__(self, generators: list[Generator], batch_size: int, device: torch.device) -> None:
        self._generators = [generator.to(device) for generator in generators]
        self._count = max(2, batch_size // len(generators))
        self._device = device

    @torch.no_grad()
    def __call__(self, rng: torch.Generator) -> Tensor:
        """Return a batch, see `Source`."""
        return torch.cat(
            [
                generator(*generators.noise(generator, self._count, rng))
                for generator in self._generators
            ]
        )


class _Stored:
    """Calibration images, some at random."""

    def __init__(self, images_NCHW: Images, batch_size: int, device: torch.device) -> None:
        self._images_NCHW = images_NCHW
        self._count = batch_size
        self._device = device

    def __call__(self, rng: torch.Generator) -> Tensor:
        """Return a batch, see `Source`."""
        indices_B = torch.randperm(len(self._images_NCHW), generator=rng, device=rng.device)
        x_BCHW = np.asarray(self._images_NCHW[indices_B[: self._count].cpu().numpy()])
        return torch.from_numpy(x_BCHW).to(self._device)


def of_run(ctx: Context) -> Int8Trainer:
    """Return what trains the student of a run on images of its generators, with checkpoints.

    Raises:
        StageError: A generator's file is damaged.
    """
    options, device = ctx.settings.build, devices.select("fp32").device
    # In the modes in which the student got images of them.
    is_training = {
        "generator": True,
        "ema_generator": ctx.settings.distill.ema_batch_norm == "batch",
    }
    drawn_from = [
        generators.load(ctx.input(f"distill/{name}"), f"distill/{name}").train(mode)
        for name, mode in is_training.items()
    ]
    trainer = Int8Trainer(
        options,
        _Generated(drawn_from, training_batch(options, math.prod(drawn_from[0].size_px)), device),
        device,
        seed=ctx.settings.seed,
        steps=ctx.play(options.int8_steps, _UNIT, few=_SMOKE_STEPS),
        on_progress=ctx.progress,
        on_note=ctx.note,
    )
    trainer.resume(ctx.checkpoints.load(), ctx.checkpoints.keep)
    return trainer


def of_images(
    images_NCHW: Images, options: Build, on_progress: OnProgress, on_note: OnNote
) -> Int8Trainer:
    """Return what trains a file from anywhere on calibration images."""
    device = devices.select("fp32").device
    return Int8Trainer(
        options,
        _Stored(images_NCHW, training_batch(options, math.prod(images_NCHW.shape[2:])), device),
        device,
        seed=0,
        steps=options.int8_steps,
        on_progress=on_progress,
        on_note=on_note,
    )

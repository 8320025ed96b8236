"""What tests of the training share: tiny jobs, teachers on disk, trainers and their weights."""

import multiprocessing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.settings import Distill
from stages.distill.job import Job
from stages.distill.trainer import DistillTrainer
from stages.networks import card as cards
from stages.networks import weights
from tests.stages.tiny import card, resnet8


def job(**options: Any) -> Job:
    """Return a job of a few small rounds in fp32, changed by `options`."""
    plain: dict[str, Any] = {
        "rounds": 4,
        "batch_size": 16,
        "generator_width": 8,
        "noise_dim": 5,
        "precision": "fp32",
        "loss": "kl",
    }
    return Job(
        options=Distill(**plain | options),
        seed=3,
        student_arch="resnet8",
        teacher_code=None,
        student_code=None,
    )


def teacher(folder: Path) -> Path:
    """Write a teacher whose BatchNorm layers have seen something, and return its file."""
    torch.manual_seed(11)
    network = resnet8(seed=11)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(std=0.3)
    path = folder / "teacher.safetensors"
    weights.save(path, network, cards.metadata(card()))
    return path


def copied_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of all weights and statistics of a network."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def trained_state(trainer: DistillTrainer) -> dict[str, Tensor]:
    """Return a copy of all that a trainer moves: student, generator and EMA."""
    networks = {"student": trainer.student, "generator": trainer.generator, "ema": trainer.ema}
    return {
        f"{part}.{name}": value
        for part, network in networks.items()
        for name, value in copied_state(network).items()
    }


def children() -> list[int]:
    """Return the ids of the workers that this process started."""
    return [process.pid for process in multiprocessing.active_children() if process.pid]

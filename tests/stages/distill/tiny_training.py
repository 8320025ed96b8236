"""Setting up tiny games for tests: jobs, teachers on disk, and the children of this process."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.settings import Distill
from stages.distill.job import Job
from stages.networks import card as cards
from stages.networks import weights
from tests.stages.tiny import card, resnet8


def job(**options: Any) -> Job:
    """Return a job of a few small rounds in fp32, changed by `options`."""
    chosen = {
        "rounds": 4,
        "batch_size": 16,
        "generator_width": 8,
        "noise_dim": 5,
        "precision": "fp32",
        "loss": "kl",
        **options,
    }
    return Job(
        options=Distill(**chosen),
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


def children() -> list[int]:
    """Return the process ids of this process's children."""
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(encoding="utf-8")
    return [int(each) for each in listed.split()]

"""Training on a GPU: in every way to compile it, and onwards from a checkpoint."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from models import registry
from models.classifier import Classifier
from models.generator import Generator
from pipeline import machine
from pipeline.settings import Distill
from stages.distill.trainer import DistillTrainer
from stages.training import device as devices
from stages.training import state_file

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not machine.gpus(), reason="no GPU is here"),
]


def _trainer(**options: Any) -> DistillTrainer:
    compute = devices.select(options.pop("precision", "auto"))
    assert compute.device.type == "cuda"
    torch.manual_seed(3)
    teacher, student = (
        Classifier(
            registry.create("resnet8", in_channels=3, num_classes=10, code=None),
            (0.5,) * 3,
            (0.25,) * 3,
        )
        for _ in range(2)
    )
    chosen = Distill(
        **{"rounds": 20, "batch_size": 32, "generator_width": 16, "student_steps": 2} | options
    )
    generator = Generator(noise_dim=100, image_size_px=32, channels=3, width=16)
    rng = devices.seeded(0, "distill", compute.device)
    return DistillTrainer(
        teacher=teacher.to(memory_format=torch.channels_last),
        student=student.to(memory_format=torch.channels_last),
        generator=generator,
        options=chosen,
        compute=compute,
        rng=rng,
    )


@pytest.mark.parametrize("compile_", ["off", "on", "cuda-graphs"])
def test_rounds_are_trained_and_their_figures_are_finite(compile_: str) -> None:
    trainer = _trainer(compile=compile_)
    for _ in range(6):
        trainer.train_round()
    window = trainer.close_window()
    assert window.round == 6
    for value in (window.student_loss, window.generator_loss, window.agreement):
        assert math.isfinite(value)
    assert trainer.compute.peak_memory_bytes() > 0


def test_the_student_learns_what_a_round_shows_it() -> None:
    trainer = _trainer(compile="off", precision="fp32", generator_learning_rate=1e-6)
    trainer.train_round()
    first = trainer.close_window().student_loss
    for _ in range(15):
        trainer.train_round()
    assert trainer.close_window().student_loss < first


def test_a_checkpoint_from_a_gpu_goes_on_there(tmp_path: Path) -> None:
    trainer = _trainer(compile="off")
    trainer.train_round()
    state_file.save(tmp_path / "state", trainer.state())
    other = _trainer(compile="off")
    other.restore(state_file.load(tmp_path / "state"))
    assert other.round == 1
    other.train_round()
    for network in (trainer.student, other.student):
        assert {parameter.device.type for parameter in network.parameters()} == {"cuda"}

"""A teacher on a GPU: no step waits for it, and a checkpoint goes on there."""

from pathlib import Path

import pytest
import torch

from models import registry
from models.classifier import Classifier
from pipeline import machine
from pipeline.settings import Teacher
from stages.data.images import Images
from stages.networks.predict import predict_torch
from stages.teacher.trainer import TeacherTrainer
from stages.training import device as devices
from stages.training import state_file

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not machine.gpus(), reason="no GPU is here"),
]

COUNT = 256
GPU = torch.device("cuda")


def _trainer(weight_average: float = 0.0) -> TeacherTrainer:
    rng = devices.seeded(0, "teacher", torch.device("cpu"))
    x_NCHW = torch.randint(0, 256, (COUNT, 3, 32, 32), dtype=torch.uint8, generator=rng)
    backbone = registry.create("resnet8", in_channels=3, num_classes=2, code=None)
    network = Classifier(backbone, (0.5,) * 3, (0.25,) * 3)
    chosen = Teacher(epochs=4, batch_size=64, augment="shift-flip", weight_average=weight_average)
    return TeacherTrainer(network, Images(x_NCHW, torch.arange(COUNT) % 2, ("a", "b")), chosen, rng)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
@pytest.mark.parametrize("weight_average", [0.0, 0.9])
def test_no_step_of_an_epoch_waits_for_the_gpu(weight_average: float) -> None:
    trainer = _trainer(weight_average)
    assert trainer.compute.device.type == "cuda"
    trainer.train_step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = [trainer.train_step() for _ in range(trainer.batches - 1)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(torch.stack(losses)).all()


def test_a_checkpoint_from_a_gpu_goes_on_there(tmp_path: Path) -> None:
    trainer, other = _trainer(), _trainer()
    for _ in range(6):
        trainer.train_step()
    state_file.save(tmp_path / "state", trainer.state())
    other.restore(state_file.load(tmp_path / "state"))
    while other.step < other.steps:
        other.train_step()
    logits_NK = predict_torch(other.result(), other.data, GPU)
    assert logits_NK.device.type == "cpu"
    assert logits_NK.shape == (COUNT, 2)

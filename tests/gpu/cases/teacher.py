"""A teacher's training and its predictions on hollow CUDA, as they are written."""

from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.settings import Teacher
from stages.data.images import Images
from stages.networks import factory
from stages.networks.predict import predict_torch
from stages.teacher.trainer import TeacherTrainer
from stages.training import device as devices
from stages.training import memory, state_file
from stages.training.device import Compute
from tests.gpu.hollow.calls import Calls
from tests.stages.tiny import card

COUNT = 256
VARIANTS: dict[str, Teacher] = {
    "plain": Teacher(epochs=3, batch_size=64, augment="none"),
    "shifted": Teacher(epochs=3, batch_size=64),
    "shifted and mirrored, averaged": Teacher(
        epochs=3, batch_size=64, augment="shift-flip", weight_average=0.9
    ),
}


def _trainer(options: Teacher) -> TeacherTrainer:
    rng = devices.seeded(0, "teacher", torch.device("cpu"))
    x_NCHW = torch.randint(0, 256, (COUNT, 1, 8, 8), dtype=torch.uint8, generator=rng)
    data = Images(x_NCHW, torch.arange(COUNT) % 10, card().classes)
    return TeacherTrainer(factory.build(card(), code=None, place="arch"), data, options, rng)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_no_step_of_an_epoch_waits_for_the_gpu_and_a_state_goes_on(
    options: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compute, "compile", lambda *_: None)
    first = _trainer(options)
    while first.step <= first.batches:
        first.train_step()
    before = Calls.read()
    while first.step < 2 * first.batches:
        first.train_step()
    assert Calls.read().since(before).waits == 0

    state_file.save(tmp_path / "state", first.state())
    other = _trainer(options)
    other.restore(state_file.load(tmp_path / "state"))
    while other.step < other.steps:
        other.train_step()
    logits_NK = predict_torch(other.result(), other.data, other.compute.device)
    assert (logits_NK.device.type, logits_NK.shape) == ("cpu", (COUNT, 10))


def test_the_memory_of_a_step_is_that_of_the_gpu() -> None:
    network = factory.build(card(), code=None, place="arch").to("cuda")
    estimate = memory.of_network(network, channels=1, image_size_px=8)
    assert estimate is not None
    # The process itself holds more than that, with torch in it.
    assert estimate.fixed_bytes < 2**28 < memory.of_step([nn.Linear(1, 1)], 0).fixed_bytes

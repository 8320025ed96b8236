"""One training of a teacher, step by step."""

import msgspec
import pytest
import torch

from models.classifier import Classifier
from pipeline.settings import Teacher
from stages.data.images import Images
from stages.teacher.trainer import TeacherTrainer
from stages.training.device import Compute
from tests.stages import failing_compiler
from tests.stages.graph_replays import GraphReplays
from tests.stages.tiny import resnet8

COUNT = 64


def _trainer(**options: object) -> TeacherTrainer:
    rng = torch.Generator().manual_seed(0)
    y_N = torch.arange(COUNT) % 2
    x_NCHW = torch.randint(0, 100, (COUNT, 1, 8, 8), dtype=torch.uint8, generator=rng)
    x_NCHW[y_N == 1, :, :4] += 100
    plain = {"epochs": 4, "batch_size": 16, "learning_rate": 0.05}
    chosen = msgspec.convert(plain | options, Teacher)
    network = Classifier(resnet8(classes=2), (0.5,), (0.5,))
    return TeacherTrainer(network, Images(x_NCHW, y_N, ("a", "b")), chosen, rng)


OPTIONS: list[dict[str, object]] = [
    {},
    {"augment": "none"},
    {"augment": "shift-flip"},
    {"schedule": "linear", "label_smoothing": 0.1},
    {"weight_average": 0.8},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_recipe_learns(options: dict[str, object]) -> None:
    trainer = _trainer(**options)
    losses = [trainer.train_step().item() for _ in range(trainer.steps)]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_training_that_goes_on_from_its_state_is_the_same_to_the_bit(
    options: dict[str, object],
) -> None:
    whole, first, second = (_trainer(**options) for _ in range(3))
    for _ in range(6):
        whole.train_step()
        first.train_step()
    second.restore(first.state())
    for _ in range(5):
        whole.train_step()
        second.train_step()
    one, other = whole.result().state_dict(), second.result().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_random_numbers_are_sampled_once_an_epoch() -> None:
    trainer = _trainer(augment="shift-flip")
    trainer.train_step()
    after_first = trainer.rng.get_state()
    for _ in range(trainer.batches - 1):
        trainer.train_step()
    assert torch.equal(trainer.rng.get_state(), after_first)
    trainer.train_step()
    assert not torch.equal(trainer.rng.get_state(), after_first)


def test_the_average_lags_behind_the_network_and_is_the_result() -> None:
    trainer = _trainer(weight_average=0.9)
    before = {name: value.clone() for name, value in trainer.result().state_dict().items()}
    trainer.train_step()
    after = trainer.result().state_dict()
    for name, value in trainer.network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(after[name], torch.lerp(before[name], value, 0.1))
        else:
            assert torch.equal(after[name], value)


def test_without_an_average_the_result_is_the_network() -> None:
    trainer = _trainer()
    assert trainer.result() is trainer.network


def test_smoothed_labels_are_spread_over_the_classes() -> None:
    trainer = _trainer(augment="none", label_smoothing=0.5, batch_size=COUNT)
    logits_2 = torch.tensor([3.0, -1.0])
    with torch.no_grad():
        trainer.network.get_parameter("backbone.fc.weight").zero_()
        trainer.network.get_parameter("backbone.fc.bias").copy_(logits_2)
    y_N = torch.zeros_like(trainer.data.y_N)
    trainer.data = Images(trainer.data.x_NCHW, y_N, trainer.data.classes)
    expected = torch.tensor([0.75, 0.25]) @ -logits_2.log_softmax(dim=0)
    assert trainer.train_step().item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_teacher_trained_by_replays_is_the_one_trained_without(
    replays: GraphReplays, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    plain = _trainer(**options)
    monkeypatch.setattr(Compute, "compile_mode", lambda *_: "cuda-graphs")
    replayed = _trainer(**options)
    losses = [[trainer.train_step() for _ in range(6)] for trainer in (plain, replayed)]
    assert replays.passes == 6
    assert losses[0] == losses[1]
    expected = plain.result().state_dict()
    for name, value in replayed.result().state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_network_that_torch_compile_fails_on_is_trained_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = _trainer()
    failing_compiler.install(monkeypatch)
    trainer, notes = _trainer(), list[str]()
    trainer.on_note = notes.append
    losses = [[either.train_step() for _ in range(6)] for either in (plain, trainer)]
    assert losses[0] == losses[1]
    assert len(notes) == 1
    assert "no such operator" in notes[0]


def test_the_mean_loss_of_each_epoch_is_kept_also_over_a_stop() -> None:
    whole, first, second = (_trainer() for _ in range(3))
    losses = [whole.train_step().item() for _ in range(12)]
    wanted = [sum(losses[start : start + 4]) / 4 for start in (0, 4, 8)]
    assert whole.epoch_losses == pytest.approx(wanted)
    for _ in range(6):
        first.train_step()
    second.restore(first.state())
    for _ in range(6):
        second.train_step()
    assert second.epoch_losses == whole.epoch_losses

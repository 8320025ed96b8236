"""One training of a teacher, step by step."""

import msgspec
import pytest
import torch

from models.classifier import Classifier
from pipeline.settings import Teacher
from stages.data.images import Images
from stages.teacher.trainer import Training
from tests.stages.tiny import resnet8

COUNT = 64


def _training(**options: object) -> Training:
    rng = torch.Generator().manual_seed(0)
    y_N = torch.arange(COUNT) % 2
    x_NCHW = torch.randint(0, 100, (COUNT, 1, 8, 8), dtype=torch.uint8, generator=rng)
    x_NCHW[y_N == 1, :, :4] += 100
    plain = {"epochs": 4, "batch_size": 16, "learning_rate": 0.05}
    chosen = msgspec.convert(plain | options, Teacher)
    network = Classifier(resnet8(classes=2), (0.5,), (0.5,))
    return Training(network, Images(x_NCHW, y_N, ("a", "b")), chosen, rng)


OPTIONS: list[dict[str, object]] = [
    {},
    {"augment": "none"},
    {"augment": "shift-flip"},
    {"schedule": "linear", "label_smoothing": 0.1},
    {"weight_average": 0.8},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_recipe_learns(options: dict[str, object]) -> None:
    training = _training(**options)
    losses = [training.advance().item() for _ in range(training.steps)]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_training_that_goes_on_from_its_state_is_the_same_to_the_bit(
    options: dict[str, object],
) -> None:
    whole, first, second = (_training(**options) for _ in range(3))
    for _ in range(6):
        whole.advance()
        first.advance()
    second.restore(first.state())
    for _ in range(5):
        whole.advance()
        second.advance()
    one, other = whole.result().state_dict(), second.result().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_average_lags_behind_the_network_and_is_the_result() -> None:
    training = _training(weight_average=0.9)
    before = {name: each.clone() for name, each in training.result().state_dict().items()}
    training.advance()
    after = training.result().state_dict()
    for name, each in training.network.state_dict().items():
        if each.is_floating_point():
            torch.testing.assert_close(after[name], torch.lerp(before[name], each, 0.1))
        else:
            assert torch.equal(after[name], each)


def test_without_an_average_the_result_is_the_network() -> None:
    training = _training()
    assert training.result() is training.network


def test_smoothed_labels_are_spread_over_the_classes() -> None:
    training = _training(augment="none", label_smoothing=0.5, batch_size=COUNT)
    logits_2 = torch.tensor([3.0, -1.0])
    with torch.no_grad():
        training.network.get_parameter("backbone.fc.weight").zero_()
        training.network.get_parameter("backbone.fc.bias").copy_(logits_2)
    y_N = torch.zeros(COUNT, dtype=torch.int64)
    training.data = Images(training.data.x_NCHW, y_N, training.data.classes)
    wanted = torch.tensor([0.75, 0.25]) @ -logits_2.log_softmax(dim=0)
    assert training.advance().item() == pytest.approx(wanted.item(), rel=1e-5)

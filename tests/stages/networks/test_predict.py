"""Predictions over many images: in batches, in order, and the same as all at once."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from stages.data.images import Images
from stages.networks.predict import (
    cpu_batch_size,
    gpu_batch_size,
    predict,
    predict_torch,
    top1_accuracy,
)

CPU = torch.device("cpu")


def _images(count: int) -> Images:
    torch.manual_seed(0)
    x_NCHW = torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8)
    return Images(x_NCHW, torch.arange(count) % 3, ("a", "b", "c"))


def test_predictions_in_batches_equal_those_of_all_images_at_once() -> None:
    images = _images(600)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    batched_NK = predict_torch(network, images, CPU)
    with torch.no_grad():
        at_once_NK = network(images.x_NCHW[:].float() / 255)
    torch.testing.assert_close(batched_NK, at_once_NK)


def test_a_network_compiled_for_training_is_not_compiled_again_for_predictions() -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    images = _images(4)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    plain_NK = predict_torch(network, images, CPU)
    network.compile(backend=refuse)
    assert torch.equal(predict_torch(network, images, CPU), plain_NK)


def test_the_network_is_in_evaluation_mode_and_then_as_it_was() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(16, 3)).train()
    images = _images(4)
    first, second = (predict_torch(network, images, CPU) for _ in range(2))
    assert torch.equal(first, second)
    assert network.training
    assert not first.requires_grad


@pytest.mark.parametrize("is_array", [False, True])
def test_every_image_is_run_once_and_in_order(*, is_array: bool) -> None:
    levels_N = torch.arange(150, dtype=torch.uint8)
    x_NCHW = levels_N.view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    images = Images(x_NCHW, torch.zeros(150).long(), ("a",))
    sizes: list[int] = []

    def infer(x_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        assert x_BCHW.flags.c_contiguous
        sizes.append(len(x_BCHW))
        return x_BCHW.reshape(len(x_BCHW), -1)[:, :1]

    array_NCHW = x_NCHW.numpy().astype(np.float32) / np.float32(255)
    levels_N1 = predict(infer, array_NCHW if is_array else images)
    assert (levels_N1[:, 0] * 255).round().tolist() == list(range(150))
    assert sizes == [64, 64, 22]


def test_top1_is_the_share_of_rows_whose_largest_logit_is_at_the_label() -> None:
    logits_NK = torch.tensor([[0.0, 1.0], [3.0, 1.0], [0.0, 2.0], [0.0, 9.0]])
    assert top1_accuracy(logits_NK, torch.tensor([1, 0, 0, 1])) == 0.75


def test_large_images_go_through_the_cpu_in_smaller_batches() -> None:
    sizes = [cpu_batch_size(side_px**2) for side_px in (8, 32, 64, 224, 1024)]
    assert sizes == [256, 256, 98, 8, 1]
    sizes = []

    def infer(x_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        sizes.append(len(x_BCHW))
        return x_BCHW[:, 0, 0]

    predict(infer, np.zeros((20, 1, 224, 224), np.float32))
    assert sizes == [8, 8, 4]


def test_how_many_images_are_done_is_reported_from_the_first_on() -> None:
    reported: list[tuple[int, int]] = []
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    predict_torch(network, _images(600), CPU, on_progress=lambda *done: reported.append(done))
    assert reported[0] == (0, 600)
    assert reported[-1] == (600, 600)


def test_large_images_go_through_a_gpu_in_smaller_batches() -> None:
    sizes = [gpu_batch_size(side_px**2) for side_px in (32, 64, 224, 4000)]
    assert sizes == [500, 490, 40, 1]

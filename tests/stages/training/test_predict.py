"""Predictions over many images."""

import torch
from torch import nn

from stages.data.images import Images
from stages.training import predict

CPU = torch.device("cpu")


def _images(count: int) -> Images:
    torch.manual_seed(0)
    x_NCHW = torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8)
    return Images(x_NCHW, torch.arange(count) % 3, ("a", "b", "c"))


def test_predictions_in_batches_equal_those_of_all_images_at_once() -> None:
    images = _images(600)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    found_NK = predict.predict(network, images, CPU)
    with torch.no_grad():
        wanted_NK = network(images.x_NCHW[:].float() / 255)
    torch.testing.assert_close(found_NK, wanted_NK)


def test_the_network_is_in_evaluation_mode_and_then_as_it_was() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(16, 3)).train()
    images = _images(4)
    one, other = (predict.predict(network, images, CPU) for _ in range(2))
    assert torch.equal(one, other)
    assert network.training
    assert not one.requires_grad


def test_top1_is_the_share_of_rows_whose_largest_logit_is_at_the_label() -> None:
    logits_NK = torch.tensor([[0.0, 1.0], [3.0, 1.0], [0.0, 2.0], [0.0, 9.0]])
    assert predict.top1(logits_NK, torch.tensor([1, 0, 0, 1])) == 0.75

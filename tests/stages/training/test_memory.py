"""The estimate of a training step's memory."""

import torch
from torch import Tensor, nn

from stages.training import memory
from stages.training.memory import StepMemory


def test_what_autograd_keeps_of_an_image_is_counted_once() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Sigmoid(), nn.Conv2d(4, 2, 3))
    before = torch.random.get_rng_state()
    kept = memory.kept_bytes(network, lambda net: net(memory.images(3, 8)))
    # The images, the sigmoid's output that the next layer takes too, and the last output.
    assert kept == 4 * (3 * 64 + 4 * 64 + 2 * 36)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not network[0].weight.is_meta


def test_a_network_that_looks_at_values_has_no_estimate() -> None:
    class Looks(nn.Module):
        def forward(self, x_BCHW: Tensor) -> Tensor:
            return x_BCHW * x_BCHW.max().item()

    assert memory.of_network(Looks(), channels=3, image_size_px=8) is None


def test_a_batch_that_fits_in_eight_gib_is_named() -> None:
    estimate = StepMemory(fixed_bytes=2**30, image_bytes=2**26)
    assert estimate.warning(64, 2**34, "batch {}".format) is None
    text = estimate.warning(256, 2**34, "batch {}".format)
    assert text is not None
    assert text.startswith("warning: a step of 256 images takes about 17.0 GiB")
    assert "8.0 GiB are enough with batch 64" in text
    on_more = estimate.warning(256, 2**36, "batch {}".format)
    assert on_more is not None
    assert on_more.startswith("a step of 256 images")
    on_less = estimate.warning(64, 2**31, "batch {}".format)
    assert on_less is not None
    assert "2.0 GiB are enough with batch 16" in on_less
    assert "smaller images" in str(StepMemory(2**33, 1).warning(2, 2**31, "batch {}".format))

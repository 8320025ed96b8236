"""Files are compared with torch by the spread of the logits, not by their size."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from models.classifier import Classifier
from pipeline.errors import StageError
from pipeline.settings import Export
from stages.export.compare import Reference, compare

IMAGES_NCHW = np.random.default_rng(0).random((6, 1, 4, 4), dtype=np.float32)


def _reference(backbone: nn.Module) -> Reference:
    return Reference(Classifier(backbone, (0.5,), (0.5,)).eval(), IMAGES_NCHW)


def _scaled(scale: float) -> Reference:
    torch.manual_seed(0)
    linear = nn.Linear(16, 3)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.mul_(scale)
    return _reference(nn.Sequential(nn.Flatten(), linear))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("share", [1e-4, 1e-2])
def test_the_same_share_of_the_spread_passes_at_any_scale(scale: float, share: float) -> None:
    reference = _scaled(scale)

    def infer(x_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        return reference.infer(x_BCHW) + np.float32(share * reference.spread)

    if share < Export().max_relative_difference:
        assert compare(reference, infer, Export()).relative_difference == pytest.approx(share, 0.1)
        return
    with pytest.raises(StageError, match=r"differs from torch by .*max_relative_difference"):
        compare(reference, infer, Export())


def test_a_bound_in_logits_holds_as_well() -> None:
    reference = _scaled(1e6)
    with pytest.raises(StageError, match=r"max_logit_difference above 0\.001"):
        compare(reference, lambda x: reference.infer(x) + 1, Export(max_logit_difference=1e-3))


class _Cancelling(nn.Module):
    """Differences of large numbers: its fp32 is far from exact."""

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        small_BK = x_BCHW.flatten(1)[:, :3] * 1e-6
        return (small_BK + 100) - 100


def test_an_ill_conditioned_network_is_held_to_torchs_own_error_and_named() -> None:
    reference = _reference(_Cancelling())

    def exact(x_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        flat_BK = (x_BCHW.reshape(len(x_BCHW), -1)[:, :3] - 0.5) / 0.5
        return flat_BK * np.float32(1e-6)

    assert any("ill-conditioned" in note for note in compare(reference, exact, Export()).notes)
    with pytest.raises(StageError, match="differs from torch"):
        compare(reference, lambda x: exact(x) + np.float32(1e-3), Export())


def test_batch_norm_without_running_statistics_is_refused() -> None:
    layers = [nn.Flatten(), nn.Linear(16, 3)]
    _reference(nn.Sequential(nn.BatchNorm2d(1), *layers)).check_rows(Export())
    norm = nn.BatchNorm2d(1, track_running_stats=False)
    reference = _reference(nn.Sequential(norm, *layers))
    with pytest.raises(StageError, match=r"others of its batch \(.*statistics: 0, BatchNorm2d; a"):
        reference.check_rows(Export())


class _Mixing(nn.Module):
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        flat_BK = x_BCHW.flatten(1)[:, :3]
        return flat_BK - flat_BK.mean(0)


def test_a_forward_that_mixes_images_is_refused() -> None:
    with pytest.raises(StageError, match=r"others of its batch \(its forward mixes images"):
        _reference(_Mixing()).check_rows(Export())


class _Alone(nn.Module):
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return x_BCHW.flatten(1).T[:3].T.squeeze(0)


def test_a_network_that_squeezes_a_batch_of_one_away_is_taken() -> None:
    _reference(_Alone()).check_rows(Export())


class _Noisy(nn.Module):
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x_BCHW.flatten(1)[:, :3], 0.5)


def test_dropout_that_is_always_on_is_refused() -> None:
    with pytest.raises(StageError, match=r"other outputs for the same images each time"):
        _reference(_Noisy()).check_rows(Export())


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_network_that_tells_no_images_apart_is_seen(scale: float) -> None:
    assert _scaled(scale).is_constant == (scale == 0.0)


def test_images_that_fill_one_batch_go_through_the_file_once() -> None:
    reference, batches = _scaled(1.0), []

    def infer(x_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        batches.append(len(x_BCHW))
        return reference.infer(x_BCHW)

    compare(reference, infer, Export(), batch_sizes=(1, 6))
    compare(reference, infer, Export(), batch_sizes=(1, 2))
    assert batches == [1, 6, 1, 2, 6]

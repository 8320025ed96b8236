"""BatchNorm over a group: for one process nothing changes; of several, see test_launch."""

import pytest
import torch
from torch import nn

from pipeline.errors import StageError
from stages.distill.distributed.group import Group
from stages.distill.distributed.sync_batchnorm import (
    SyncBatchNorm2d,
    batch_moments,
    convert_sync_batchnorm,
)
from tests.stages.distill.tiny_training import copied_state


class _Mirrored(Group):
    """A group of two whose other process holds the same batch, negated."""

    def __init__(self) -> None:
        super().__init__(0, 2)

    def mean(self, x: torch.Tensor) -> torch.Tensor:
        # Of the two rows, mean and mean square, the first changes its sign over there.
        return torch.stack([0 * x[0], x[1]])


def test_layers_of_one_process_are_left_alone() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3))
    convert_sync_batchnorm(network, Group())
    assert type(network[0]) is nn.BatchNorm2d


def test_every_layer_is_replaced_with_its_state_among_several() -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Sequential(nn.BatchNorm2d(8)))
    inner = network[1]
    assert isinstance(inner, nn.Sequential)
    nn.init.uniform_(inner.get_parameter("0.weight"))
    before = copied_state(network)
    convert_sync_batchnorm(network, Group(0, 2))
    assert isinstance(inner[0], SyncBatchNorm2d)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    "layer",
    [nn.BatchNorm1d(3), nn.BatchNorm2d(3, affine=False), nn.BatchNorm2d(3, momentum=None)],
    ids=str,
)
def test_what_cannot_be_shared_is_refused_among_several_and_left_alone_by_one(
    layer: nn.Module,
) -> None:
    network = nn.Sequential(nn.Sequential(layer))
    convert_sync_batchnorm(network, Group())
    with pytest.raises(StageError, match=r"^distill.processes: only BatchNorm2d with weights"):
        convert_sync_batchnorm(network, Group(0, 2))


def test_moments_are_those_of_both_halves_together() -> None:
    x_BCHW = torch.randn(4, 3, 2, 2) + 1.0
    mean_C, var_C = batch_moments(x_BCHW, _Mirrored())
    both_BCHW = torch.cat([x_BCHW, -x_BCHW])
    expected_var, expected_mean = torch.var_mean(both_BCHW, dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean_C, expected_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(var_C, expected_var, rtol=1e-5, atol=1e-6)


def test_output_gradient_and_running_statistics_are_those_of_torch_on_both_halves() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(3))
    reference = nn.BatchNorm2d(3)
    convert_sync_batchnorm(network, _Mirrored())
    x_BCHW = torch.randn(4, 3, 2, 2)
    y_BCHW = network(x_BCHW)
    expected_BCHW = reference(torch.cat([x_BCHW, -x_BCHW]))[:4]
    torch.testing.assert_close(y_BCHW, expected_BCHW, rtol=1e-5, atol=1e-5)
    layer = network[0]
    assert isinstance(layer, SyncBatchNorm2d)
    torch.testing.assert_close(layer.running_mean, reference.running_mean)
    torch.testing.assert_close(layer.running_var, reference.running_var)
    assert layer.num_batches_tracked is not None
    assert layer.num_batches_tracked.item() == 1


def test_in_eval_mode_it_uses_its_running_statistics() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3)).eval()
    convert_sync_batchnorm(network, _Mirrored())
    x_BCHW = torch.randn(4, 3, 2, 2)
    torch.testing.assert_close(network(x_BCHW), nn.BatchNorm2d(3).eval()(x_BCHW))

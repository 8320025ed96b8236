"""Moment-matching terms against a direct computation, untracked passes, and sharing over a group.

What several processes share is in test_launch.
"""

import math

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import StageError
from stages.distill.batch_norm import (
    BNStatsLoss,
    SyncBatchNorm2d,
    batch_moments,
    convert_sync_batchnorm,
    untracked,
)
from stages.distill.distributed.group import Group
from tests.stages.distill.tiny_training import copied_state


def _network() -> nn.Sequential:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8))
    for module in network:
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def _term(layer: nn.Module, h_BCHW: Tensor) -> float:
    """Compute the term with loops, in double precision."""
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    of_mean = of_var = 0.0
    for channel in range(h_BCHW.shape[1]):
        values = h_BCHW[:, channel].double().flatten()
        mean = values.sum() / len(values)
        var = ((values - mean) ** 2).sum() / len(values)
        of_mean += float(mean - layer.running_mean[channel]) ** 2
        of_var += float(var - layer.running_var[channel]) ** 2
    return math.sqrt(of_mean) + math.sqrt(of_var)


def test_every_term_equals_a_direct_computation_on_the_input_of_its_layer() -> None:
    network = _network()
    x_BCHW = torch.rand(5, 2, 6, 6)
    with torch.no_grad():
        _, terms = BNStatsLoss(network)(x_BCHW)
        before_first = network[0](x_BCHW)
        before_second = network[:3](x_BCHW)
    expected = [_term(network[1], before_first), _term(network[3], before_second)]
    assert [term.item() for term in terms] == pytest.approx(expected, rel=1e-5)


def test_a_term_is_zero_where_the_moments_are_those_stored() -> None:
    layer = nn.BatchNorm2d(2, momentum=None).eval()
    x_BCHW = torch.rand(4, 2, 3, 3)
    layer.running_mean = x_BCHW.mean(dim=(0, 2, 3))
    layer.running_var = x_BCHW.var(dim=(0, 2, 3), correction=0)
    _, terms = BNStatsLoss(layer)(x_BCHW)
    assert terms[0].item() == pytest.approx(0.0, abs=1e-6)


def test_the_terms_carry_gradients_to_the_images() -> None:
    x_BCHW = torch.rand(3, 2, 6, 6, requires_grad=True)
    network = _network()
    _, terms = BNStatsLoss(network)(x_BCHW)
    torch.stack(terms).sum().backward()  # type: ignore[no-untyped-call]
    assert x_BCHW.grad is not None
    assert x_BCHW.grad.abs().sum() > 0


def test_measuring_leaves_the_output_and_the_stored_moments_unchanged() -> None:
    network = _network()
    x_BCHW = torch.rand(3, 2, 6, 6)
    before = copied_state(network)
    plain_BCHW = network(x_BCHW)
    measured_BCHW, _ = BNStatsLoss(network)(x_BCHW)
    assert torch.equal(plain_BCHW, measured_BCHW)
    assert all(torch.equal(before[name], x) for name, x in network.state_dict().items())


def test_passes_that_are_not_its_own_add_no_terms() -> None:
    network = _network()
    bn_stats = BNStatsLoss(network)
    x_BCHW = torch.rand(2, 2, 6, 6)
    _, terms = bn_stats(x_BCHW)
    network(x_BCHW)
    _, again = bn_stats(x_BCHW)
    assert len(terms) == len(again) == 2


def test_only_batch_norm_of_images_with_running_statistics_counts() -> None:
    network = nn.Sequential(
        nn.BatchNorm2d(3, track_running_stats=False), nn.GroupNorm(1, 3), nn.BatchNorm1d(4)
    )
    assert BNStatsLoss(network).layers == []


def test_untracked_networks_use_their_batch_and_remember_nothing() -> None:
    network = _network().train()
    x_BCHW = torch.randn(8, 2, 6, 6)
    before = copied_state(network)
    with untracked(network), torch.no_grad():
        untracked_BCHW = network(x_BCHW)
    assert all(torch.equal(before[name], x) for name, x in network.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(network(x_BCHW), untracked_BCHW)
    assert not torch.equal(before["1.running_mean"], network.state_dict()["1.running_mean"])


def test_statistics_are_tracked_again_after_an_error() -> None:
    network = _network().train()
    with pytest.raises(RuntimeError, match="stop"), untracked(network):
        raise RuntimeError("stop")
    assert network[1].track_running_stats


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


def test_a_shared_layer_lies_where_the_one_that_it_replaces_does() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3, device="meta"))
    convert_sync_batchnorm(network, Group(0, 2))
    assert {x.device.type for x in network.state_dict().values()} == {"meta"}


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

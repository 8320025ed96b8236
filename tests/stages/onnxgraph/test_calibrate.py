"""Ranges of activations over images."""

import numpy as np
import pytest

from stages import bank
from stages.onnxgraph import calibrate
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.layers import with_names
from tests.stages.tiny import TinyRun


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_every_method_gives_ranges_within_minmax_and_prints_nothing(
    tiny: TinyRun, method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    model = with_names(onnx_io.read(tiny.path("export/onnx"), "here"))
    x_NCHW = bank.load(tiny.path("distill/bank"), "here")
    widest = calibrate.activation_ranges(model, x_NCHW, "minmax", ("Conv",))
    ranges = calibrate.activation_ranges(model, x_NCHW, method, ("Conv",))
    assert set(ranges.keys()) == set(widest.keys()) != set()
    for name in ranges.keys():  # noqa: SIM118  (no mapping)
        low, high = (float(np.min(end)) for end in ranges[name].range_value)
        least, most = (float(np.min(end)) for end in widest[name].range_value)
        assert low < high
        assert max(abs(low), abs(high)) <= 1.01 * max(abs(least), abs(most))
    assert capfd.readouterr() == ("", "")


def test_minmax_is_the_least_and_the_most_of_all_batches(tiny: TinyRun) -> None:
    model = with_names(onnx_io.read(tiny.path("export/onnx"), "here"))
    x_NCHW = np.zeros((70, 1, 8, 8), np.float32)
    x_NCHW[69] = 1.0
    ranges = calibrate.activation_ranges(model, x_NCHW, "minmax", ("Conv",))
    first = next(node for node in model.graph.node if node.op_type == "Conv").input[0]
    low, high = (float(np.min(end)) for end in ranges[first].range_value)
    card = onnx_io.card_of(model)
    assert card is not None
    mean, std = card.mean[0], card.std[0]
    assert low == pytest.approx((0 - mean) / std, abs=1e-4)
    assert high == pytest.approx((1 - mean) / std, abs=1e-4)

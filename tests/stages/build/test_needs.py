"""What auto says beforehand of memory and time."""

import numpy as np
import pytest

from pipeline.settings import Build
from pipeline.settings.build import Int8Name
from stages.build import needs
from stages.engines.selection import Candidate
from tests.stages.onnxgraph.graphs import classifier

CANDIDATES = (Candidate("onnxruntime", "fp32"), Candidate("onnxruntime", "int8"))


def _needs(count: int = 8, size: int = 8, reference_s: float = 1.0, layers: int = 2) -> needs.Needs:
    images_NCHW = np.zeros((count, 3, size, size), np.float32)
    model = classifier(images=("N", 3, size, size))
    return needs.of_auto(model, images_NCHW, Build(bisect_layers=layers), CANDIDATES, reference_s)


def test_time_goes_with_the_reference_and_the_search_with_layers_sought() -> None:
    # Two candidates, and the images that ranges come from.
    assert _needs(reference_s=3.0).seconds - _needs().seconds == pytest.approx(3 * 2.0)
    searches = [_needs(layers=layers).more_s for layers in (0, 1, 2)]
    assert searches[0] == 0
    assert searches[2] == pytest.approx(2 * searches[1])
    assert searches[1] > 0


def test_training_counts_surely_where_it_is_asked_for_and_else_where_int8_disagrees() -> None:
    images_NCHW = np.zeros((8, 3, 8, 8), np.float32)
    common = {"int8_steps": 100, "int8_batch_size": 16, "bisect_layers": 0}

    def times(int8: Int8Name, train: object) -> tuple[float, float]:
        options = Build(int8=int8, **common)  # type: ignore[arg-type]
        estimate = needs.of_auto(classifier(), images_NCHW, options, CANDIDATES, 1.0, train=train)
        return estimate.seconds, estimate.more_s

    rounded_s, _ = times("rounded", None)
    training_s = 100 * 16 / 8 * 15
    assert times("auto", print) == pytest.approx((rounded_s, training_s), abs=1.0)
    assert times("trained", print) == pytest.approx((rounded_s + training_s, 0.0), abs=1.0)


def test_large_images_are_trained_on_in_smaller_batches() -> None:
    sizes = [needs.training_batch(Build(), size_px**2) for size_px in (8, 32, 64, 224)]
    assert sizes == [256, 256, 64, 16]
    assert needs.training_batch(Build(int8_batch_size=7), 224**2) == 7


def test_memory_of_many_large_images_is_bounded_but_for_the_images_themselves() -> None:
    few, many = _needs(count=4, size=256), _needs(count=64, size=256)
    assert many.memory_bytes - few.memory_bytes == 60 * 3 * 256**2 * 4


def test_a_line_is_worth_what_takes_long_or_much() -> None:
    images_NCHW = np.zeros((8, 3, 224, 224), np.float32)
    assert needs.line(needs.Needs(2**29, 1.0, 9.0), 2, images_NCHW) is None
    line = needs.line(needs.Needs(2**29, 40.0, 90.0), 2, images_NCHW)
    assert line is not None
    assert "8 images of 224 x 224: about 40 s, up to 90 s more" in line
    assert needs.line(needs.Needs(2**31, 1.0, 9.0), 2, images_NCHW) is not None

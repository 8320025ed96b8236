"""Images as a graph takes them."""

import numpy as np

from stages.onnxgraph import pixels


def test_floats_are_passed_on_untouched() -> None:
    x_NCHW = np.random.default_rng(0).random((2, 3, 4, 5), dtype=np.float32)
    assert pixels.taken(x_NCHW, is_bytes=False) is x_NCHW


def test_bytes_are_rounded_and_their_channels_last() -> None:
    wanted_NHWC = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    x_NCHW = (wanted_NHWC.transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)
    found = pixels.taken(x_NCHW, is_bytes=True)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, wanted_NHWC)

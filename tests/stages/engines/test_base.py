"""The table of backends, and images as their graphs take them."""

import typing

import msgspec
import numpy as np
import pytest

from pipeline import machine, settings
from pipeline.gates.build_records import EngineManifest
from stages.engines.base import AUTO, BACKENDS, to_model_input


def test_the_table_has_every_backend_that_the_settings_name() -> None:
    assert {"auto", *BACKENDS} == set(typing.get_args(settings.BackendName))
    assert AUTO in BACKENDS


@pytest.mark.parametrize("name", list(BACKENDS))
def test_every_row_names_precisions_and_facts_that_exist(name: str) -> None:
    info = BACKENDS[name]
    assert set(info.precisions) <= set(typing.get_args(settings.PrecisionName)) - {"auto"}
    assert all(machine.fact(name) for name in info.facts)
    assert info.install.startswith("pip install ")


def test_a_manifest_survives_being_written_as_text() -> None:
    manifest = EngineManifest(
        backend="b", backend_version="1", device="cpu", precision="fp32", engine="e", sha256="0",
        onnx_sha256="1",
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=EngineManifest) == manifest


def test_floats_are_passed_on_untouched() -> None:
    x_NCHW = np.random.default_rng(0).random((2, 3, 4, 5), dtype=np.float32)
    assert to_model_input(x_NCHW, is_bytes=False) is x_NCHW


def test_bytes_are_rounded_and_their_channels_last() -> None:
    bytes_NHWC = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    x_NCHW = (bytes_NHWC.transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)
    x_NHWC = to_model_input(x_NCHW, is_bytes=True)
    assert x_NHWC.dtype == np.uint8
    assert x_NHWC.flags.c_contiguous
    np.testing.assert_array_equal(x_NHWC, bytes_NHWC)

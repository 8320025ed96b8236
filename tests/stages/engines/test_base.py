"""The table of backends."""

import typing

import msgspec
import pytest

from pipeline import machine, settings
from stages.engines.base import AUTO, BACKENDS, EngineManifest


def test_the_table_has_every_backend_that_the_settings_name() -> None:
    assert {"auto", *BACKENDS} == set(typing.get_args(settings.BackendName))
    assert AUTO in BACKENDS


@pytest.mark.parametrize("name", list(BACKENDS))
def test_every_row_names_precisions_and_facts_that_exist(name: str) -> None:
    info = BACKENDS[name]
    assert set(info.precisions) <= set(typing.get_args(settings.PrecisionName)) - {"auto"}
    assert all(machine.fact(each) for each in info.facts)
    assert info.install.startswith("pip install ")


def test_a_manifest_survives_being_written_as_text() -> None:
    manifest = EngineManifest(
        backend="b", backend_version="1", device="cpu", precision="fp32", engine="e", sha256="0",
        onnx_sha256="1",
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=EngineManifest) == manifest

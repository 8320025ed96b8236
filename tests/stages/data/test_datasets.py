"""The facts of the sources that need no file."""

import typing

import pytest

from pipeline.settings import Data, SourceName
from stages.data.datasets import SPECS, spec_of


def test_there_is_a_row_for_every_source_of_the_settings() -> None:
    assert set(SPECS) == set(typing.get_args(SourceName))


@pytest.mark.parametrize("source", list(SPECS))
def test_every_row_has_a_mean_and_a_deviation_for_each_channel(source: SourceName) -> None:
    spec = spec_of(Data(source=source))
    assert spec == SPECS[source]
    assert len(spec.mean) == len(spec.std) == spec.channels
    assert all(0 < value < 1 for value in (*spec.mean, *spec.std))


def test_the_settings_come_before_the_facts_of_the_source() -> None:
    data = Data(source="folder", image_size_px=28, mean=(0.1,), std=(0.2,))
    spec = spec_of(data)
    assert (spec.channels, spec.image_size_px, spec.mean, spec.std) == (1, 28, (0.1,), (0.2,))

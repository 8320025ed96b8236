"""Every measure that a gate can name is one that is judged."""

from typing import Any

import pytest

from pipeline.gates import estimate
from pipeline.measures import MEASURES


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_measure_is_found_in_what_validate_measures(measured: dict[str, Any], name: str) -> None:
    found = estimate(name, measured, 0.95)
    assert found is not None
    assert found.bounds.low <= found.value <= found.bounds.high

"""Every measure that a gate can name is one that is judged."""

import pytest

from pipeline.gates.estimates import estimate
from pipeline.gates.measures import COMPARED, MEASURES, is_drop
from tests.measurements import MEASURED, changed

EVERYTHING = changed(
    MEASURED, bank_agreement=MEASURED.agreement, images_agreement=MEASURED.agreement
)
EVERYTHING = changed(EVERYTHING, "paired", graph=MEASURED.paired["engine"])
EVERYTHING = changed(EVERYTHING, "latency.batches.0.engine", p99_ms=0.9)
EVERYTHING = changed(
    EVERYTHING, "latency.batches.0.engine.quantiles", p99_ms={"0.05": 0.8, "0.95": 1.0}
)


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_a_measure_has_a_value_in_what_validate_measures(name: str) -> None:
    measured = estimate(name, EVERYTHING, 0.95)
    assert measured is not None
    assert measured.bounds.low <= measured.value <= measured.bounds.high


def test_drops_are_distinguished_from_other_measures() -> None:
    assert is_drop("student_top1_drop")
    assert not is_drop("speedup")
    assert {name for name in COMPARED if is_drop(name)} == {"engine_top1_drop", "student_top1_drop"}

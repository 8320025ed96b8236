"""Every measure that a gate can name is one that is judged."""

from typing import Any

import pytest

from pipeline.gates.judge import estimate
from pipeline.gates.measures import COMPARED, MEASURES, is_drop

ON_THE_BANK = {name for name in MEASURES if name.endswith("bank_agreement")}


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_measure_is_found_in_what_validate_measures(measured: dict[str, Any], name: str) -> None:
    if name in ON_THE_BANK:
        measured["bank_agreement"] = measured["agreement"]
    if name == "graph_top1_drop":
        measured["paired"]["graph"] = measured["paired"]["engine"]
    if name == "engine_p99_ms":
        engine = measured["latency"]["batches"][0]["engine"]
        engine["p99_ms"] = 0.9
        engine["quantiles"]["p99_ms"] = {"0.05": 0.8, "0.95": 1.0}
    found = estimate(name, measured, 0.95)
    assert found is not None
    assert found.bounds.low <= found.value <= found.bounds.high


def test_drops_are_told_from_other_measures() -> None:
    assert is_drop("student_top1_drop")
    assert not is_drop("speedup")
    assert {name for name in COMPARED if is_drop(name)} == {"engine_top1_drop", "student_top1_drop"}

"""The figures of a run as the JSON that continuous-benchmarking services read.

github-action-benchmark takes a list of `name`, `unit`, `value`, `range`, `extra`, and one list for
each direction in which figures are better. Bencher takes its metric format: benchmark, then
measure, then `value`, `lower_value` and `upper_value`.
"""

import json
from collections.abc import Mapping, Sequence

from pipeline.report.figures import CONFIDENCE, Figure
from pipeline.report.records import Report

_NETWORKS = ("teacher", "student", "onnx", "graph", "engine")
_PROCESS = ("process", "peak_bytes")
_PLACE = ("cpu", "gpu0", "madpipe", "git")


def github_benchmark(report: Report, figures: Sequence[Figure], *, is_bigger_better: bool) -> str:
    """Return the entries of github-action-benchmark whose figures are better in one direction.

    Without drops: that action divides by the value before, which of a drop is often 0, and the
    top-1 of each network tells the same.
    """
    entries = []
    for figure in figures:
        if figure.is_higher_better != is_bigger_better or figure.name.endswith("_drop"):
            continue
        entry: dict[str, str | float] = {
            "name": figure.name,
            "unit": "ratio" if figure.unit == "1" else figure.unit,
            "value": figure.value,
        }
        notes = [figure.meaning]
        if figure.low is not None and figure.high is not None:
            entry["range"] = f"± {(figure.high - figure.low) / 2:.4g}"
            bounds = f"{figure.low:.6g} to {figure.high:.6g}"
            notes.append(f"bounds {bounds}, each at {CONFIDENCE:.0%}; n = {figure.n}")
        notes += [
            f"{name} {report.environment[name]}" for name in _PLACE if name in report.environment
        ]
        entries.append(entry | {"extra": "\n".join(notes)})
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def bencher(figures: Sequence[Figure]) -> str:
    """Return Bencher's metric format: a benchmark for each network, its quantities as measures."""
    benchmarks: dict[str, dict[str, Mapping[str, float]]] = {}
    for figure in figures:
        metric = {"value": figure.value}
        if figure.low is not None and figure.high is not None:
            metric |= {"lower_value": figure.low, "upper_value": figure.high}
        network, _, quantity = figure.name.partition("_")
        if network not in _NETWORKS:
            network, quantity = ("engine", figure.name) if network == "speedup" else _PROCESS
        benchmarks.setdefault(f"madpipe/{network}", {})[quantity.replace("_", "-")] = metric
    return json.dumps(benchmarks, indent=2) + "\n"

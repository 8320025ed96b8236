"""What the whole report says in one word and one sentence."""

from collections.abc import Mapping
from typing import Any

from pipeline.gates.judge import is_open


def overall(report: dict[str, Any]) -> tuple[str, str]:
    """Return the verdict of a report (pass, fail, inconclusive or none) and why."""
    failed = [stage for stage in report["stages"] if stage["status"] == "failed"]
    if failed:
        return "fail", f"stage {failed[0]['name']} failed: {failed[0].get('message', '')}".rstrip(
            ": "
        )
    gates = report["gates"]
    outcomes = [gate["verdict"] for gate in gates]
    if all(gate.get("is_elsewhere", False) for gate in gates):
        return "none", "nothing was judged in this run"
    strict = [gate for gate in gates if gate.get("severity") != "warn"]
    if failed_names := [gate["name"] for gate in strict if gate["verdict"] == "fail"]:
        return "fail", ", ".join(failed_names)
    if undecided := [_undecided(gate) for gate in strict if _is_open(gate)]:
        return "inconclusive", ", ".join(undecided)
    warned = sorted(
        gate["name"]
        for gate in gates
        if gate not in strict and (gate["verdict"] == "fail" or _is_open(gate))
    )
    said = [f"{outcomes.count('pass')} of {len(outcomes)} gates passed"]
    if elsewhere := sum(gate.get("is_elsewhere", False) for gate in gates):
        said.append(f"{elsewhere} wait for the engine's GPU")
    if warned:
        said.append(f"warned of {', '.join(warned)}")
    return "pass", ", ".join(said)


def _is_open(gate: Mapping[str, Any]) -> bool:
    return is_open(gate["verdict"], gate.get("is_elsewhere", False))


def _undecided(gate: Mapping[str, Any]) -> str:
    is_skipped = gate["verdict"] == "skipped"
    return f"{gate['name']} (not measured)" if is_skipped else str(gate["name"])

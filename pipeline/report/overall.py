"""What the whole report says in one word and one sentence."""

from typing import Any


def overall(report: dict[str, Any]) -> tuple[str, str]:
    """Return the verdict of a report (pass, fail, inconclusive or none) and why."""
    failed = [stage for stage in report["stages"] if stage["status"] == "failed"]
    if failed:
        return "fail", f"stage {failed[0]['name']} failed: {failed[0].get('message', '')}".rstrip(
            ": "
        )
    outcomes = [gate["verdict"] for gate in report["gates"]]
    warned = {
        gate["name"]
        for gate in report["gates"]
        if gate.get("severity") == "warn" and gate["verdict"] in {"fail", "inconclusive"}
    }
    if not outcomes or set(outcomes) == {"skipped"}:
        return "none", "nothing was judged in this run"
    for outcome in ("fail", "inconclusive"):
        if outcome in outcomes:
            names = [
                gate["name"]
                for gate in report["gates"]
                if gate["verdict"] == outcome and gate["name"] not in warned
            ]
            if names:
                return outcome, f"{', '.join(names)}"
    passed = f"{outcomes.count('pass')} of {len(outcomes)} gates passed"
    return "pass", f"{passed}, warned of {', '.join(sorted(warned))}" if warned else passed

"""Which combinations are worth a look: the front of loss against cost, and the smallest to pass.

Pure: records in, records out.
"""

from collections.abc import Sequence

import msgspec

from pipeline import exit_codes
from pipeline.sweep.records import COSTS, Cost, Row


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return of each point whether no other one is at most as large in both and smaller in one.

    Of equal points all are on the front, since none of them dominates another.
    """
    return [
        not any(
            other != point and other[0] <= point[0] and other[1] <= point[1] for other in points
        )
        for point in points
    ]


def with_fronts(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the fronts that they are on; none where losses are incomparable."""
    fronts: dict[int, list[Cost]] = {row.number: [] for row in rows}
    if why_incomparable(rows) is None:
        for cost in COSTS:
            measured = [
                (row.number, row.loss.value, value)
                for row in rows
                if row.loss is not None and (value := row.cost(cost)) is not None
            ]
            is_on = front([(loss, value) for _, loss, value in measured])
            for (number, _, _), is_best in zip(measured, is_on, strict=True):
                if is_best:
                    fronts[number].append(cost)
    return [msgspec.structs.replace(row, fronts=tuple(fronts[row.number])) for row in rows]


def why_incomparable(rows: Sequence[Row]) -> str | None:
    """Return why the losses of these rows do not belong on one axis, None where they do."""
    losses = [row.loss for row in rows if row.loss is not None]
    if len({(loss.kind, loss.images) for loss in losses}) > 1:
        return "there is no front: combinations were measured on different images"
    if len({loss.network for loss in losses}) > 1:
        return "there is no front: of some combinations the engine was measured, of others not"
    return None


def obstacles(row: Row, *, is_judged: bool) -> tuple[str, ...]:
    """Return why a row that is done is not admissible; nothing where it is.

    A gate that is inconclusive or skipped has not passed, whatever the exit code excuses.
    """
    if not is_judged:
        return ("the sweep ended before the gates judge (--to validate)",)
    if not row.gates:
        return ("nothing was judged: the settings have no gates",)
    return tuple(
        f"{gate.name} {gate.verdict}: {gate.reason}"
        for gate in row.gates
        if gate.verdict != "pass" and not gate.only_warns
    )


def smallest(rows: Sequence[Row]) -> Row | None:
    """Return the admissible row with the fewest engine bytes, of equal ones the fastest.

    One without a latency comes after those with one, and a tie in both goes to the first row.
    """

    def size(row: Row) -> tuple[float, float, int]:
        infinite = float("inf")
        amount, latency_ms = row.engine_bytes, row.cost("latency")
        return (
            infinite if amount is None else amount,
            infinite if latency_ms is None else latency_ms,
            row.number,
        )

    return min((row for row in rows if row.is_admissible), key=size, default=None)


def exit_code(rows: Sequence[Row], *, is_judged: bool) -> int:
    """Return the exit code of a whole sweep.

    A combination that failed comes first. Where gates judged and none is admissible, the code is
    that of a failed gate, unless some combination has no failed gate: then more samples may help.
    """
    if any(row.state == "failed" for row in rows):
        return exit_codes.FAILED
    gates = [gate for row in rows for gate in row.gates if not gate.only_warns]
    if not is_judged or not gates or smallest(rows) is not None:
        return exit_codes.DONE
    is_all_failed = all(
        any(gate.verdict == "fail" and not gate.only_warns for gate in row.gates) for row in rows
    )
    return exit_codes.GATE_FAILED if is_all_failed else exit_codes.GATE_INCONCLUSIVE

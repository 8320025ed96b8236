"""The page of a sweep: the smallest student that passes, the fronts, and every combination."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.report import html, trade_off
from pipeline.report.trade_off import TradeOff
from pipeline.screen import formatting
from pipeline.sweep.records import Cost, Loss, Row, Sweep

_LOSSES = {
    "top1_drop": "top-1 lost to the teacher",
    "bank_disagreement": "synthetic images of another class",
}
_COSTS: dict[Cost, tuple[str, str]] = {
    "latency": ("median latency of the engine, ms", "Loss against latency"),
    "bytes": ("size of the engine, KiB", "Loss against size"),
}
_KIB = 1024
_FEW, _SHORT = 8, 14
"""So many combinations, of names so long, are named in a plot; others have their numbers there."""
_STYLES = {"failed": "failed", "fail": "fail", "inconclusive": "inconclusive", "admissible": "pass"}
"""The page's class of a verdict that has a colour."""


def render(sweep: Sweep) -> str:
    """Return the page as HTML that needs no network."""
    names = short_names(sweep.rows)
    verdict, headline = _headline(sweep, names)
    smallest = None if sweep.smallest is None else sweep.row(sweep.smallest)
    loss = next((row.loss for row in sweep.rows if row.loss), None)
    gates = next((row.gates for row in sweep.rows if row.gates), ())
    return html.template(Path(__file__).with_name("sweep.html.jinja")).render(
        sweep=sweep,
        names=names,
        verdict=verdict,
        headline=headline,
        sentences=sentences(sweep),
        smallest=smallest,
        loss_name=_loss_name(loss),
        points=points,
        words={row.number: _word(row, is_judged=sweep.is_judged) for row in sweep.rows},
        plots=[plot for cost in _COSTS for plot in _plots(sweep, names, cost, loss)],
        obstacles=[
            row
            for row in sweep.rows
            if row.error or (sweep.is_judged and row.state == "done" and row.obstacles)
        ],
        gate_names=[gate.name for gate in gates],
        notes=_notes(sweep, names),
        is_numbered=not _are_short(names),
        formatting=formatting,
    )


def _are_short(names: dict[int, str]) -> bool:
    """Return whether the names have room in a plot."""
    return len(names) <= _FEW and all(len(name) <= _SHORT for name in names.values())


def short_names(rows: Sequence[Row]) -> dict[int, str]:
    """Return what to call each combination: its value, or `arch=resnet8 rounds=200` of several."""
    keys = [change.partition("=")[0] for change in rows[0].changes]
    if len(keys) == 1:
        return {row.number: row.changes[0].partition("=")[2] for row in rows}
    ends = [key.rpartition(".")[2] for key in keys]
    if len(set(ends)) < len(ends):
        return {row.number: " ".join(row.changes) for row in rows}
    return {
        row.number: " ".join(
            f"{end}={change.partition('=')[2]}"
            for end, change in zip(ends, row.changes, strict=True)
        )
        for row in rows
    }


def sentences(sweep: Sweep) -> list[str]:
    """Return what came of a sweep as sentences, which the terminal has too."""
    done = [row for row in sweep.rows if row.state == "done"]
    admissible = [row for row in done if row.is_admissible]
    counts = [f"{len(done)} of {len(sweep.rows)} combinations are done"]
    counts += [
        f"{number} {state}"
        for state in ("failed", "unfinished")
        if (number := sum(row.state == state for row in sweep.rows))
    ]
    lines = [f"{', '.join(counts)}."]
    if sweep.is_interrupted:
        lines.append("The sweep was stopped; the same command goes on from here.")
    if not sweep.is_judged:
        return [*lines, f"It ended after {sweep.stage}: --to validate measures and judges."]
    if sweep.smallest is None and done and not any(row.gates for row in done):
        lines.append("None is admissible: the settings have no gates, so nothing was judged.")
    elif sweep.smallest is None:
        lines.append("None is admissible: none passes every gate that does not only warn.")
    else:
        lines.append(
            f"{len(admissible)} of them pass every gate; the smallest has the fewest engine bytes, "
            "of equal ones the lower median latency. These options select it:"
        )
    return lines


def points(share: float) -> str:
    """Return a share as percentage points."""
    return f"{share * 100:.2f} pp"


def _headline(sweep: Sweep, names: dict[int, str]) -> tuple[str, str]:
    """Return the banner's verdict and title."""
    if sweep.smallest is not None:
        return "pass", f"Smallest that passes: {names[sweep.smallest]}"
    has_gates = any(row.gates for row in sweep.rows)
    is_all_done = all(row.state == "done" for row in sweep.rows)
    if not sweep.is_judged or (is_all_done and not has_gates):
        return "none", "Not judged"
    is_open = any(
        row.gates and not any(g.verdict == "fail" and not g.only_warns for g in row.gates)
        for row in sweep.rows
    )
    is_unfinished = any(row.state == "unfinished" for row in sweep.rows)
    verdict = "inconclusive" if is_open or is_unfinished else "fail"
    return verdict, "No combination passes" + (" yet" if is_unfinished else "")


def verdict_word(row: Row) -> str:
    """Return one word for what became of a combination that was to be judged."""
    if row.state != "done":
        return row.state
    if row.is_admissible:
        return "admissible"
    strict = {gate.verdict for gate in row.gates if not gate.only_warns}
    worst = ("fail", "inconclusive", "skipped")
    return next((verdict for verdict in worst if verdict in strict), "not judged")


def _word(row: Row, *, is_judged: bool) -> tuple[str, str]:
    """Return the class and the word of a row's verdict."""
    word = verdict_word(row) if is_judged or row.state != "done" else "done"
    return _STYLES.get(word, "none"), word


def _loss_name(loss: Loss | None) -> str:
    if loss is None:
        return "loss"
    return f"{_LOSSES[loss.kind]} ({loss.network})"


def _plots(
    sweep: Sweep, names: dict[int, str], cost: Cost, loss: Loss | None
) -> list[tuple[str, str]]:
    """Return caption and plot of one front, nothing where there is none."""
    if loss is None or not any(cost in row.fronts for row in sweep.rows):
        return []
    is_named = _are_short(names)
    choices = [
        TradeOff(
            label=names[row.number] if is_named else str(row.number),
            cost=_cost(row, cost),
            loss=(row.loss.value * 100, row.loss.low * 100, row.loss.high * 100),
            is_on_front=cost in row.fronts,
            is_chosen=row.number == sweep.smallest,
        )
        for row in sweep.rows
        if row.loss is not None and row.cost(cost) is not None
    ]
    axis, caption = _COSTS[cost]
    plot = trade_off.plot(choices, cost=axis, loss=f"{_LOSSES[loss.kind]}, pp", title=caption)
    return [(caption, plot)]


def _cost(row: Row, cost: Cost) -> tuple[float, float, float]:
    if cost == "bytes":
        size_kib = (row.engine_bytes or 0) / _KIB
        return size_kib, size_kib, size_kib
    latency = row.latency_ms
    assert latency is not None
    return latency.value, latency.low, latency.high


def _notes(sweep: Sweep, names: dict[int, str]) -> list[str]:
    noise = [
        f"The latency of {names[row.number]} was noisy: {'; '.join(row.noise)}."
        for row in sweep.rows
        if row.noise
    ]
    return [*sweep.notes, *noise]

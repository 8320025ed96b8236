"""A whole sweep: what can run side by side first, then each combination alone, and its rows."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import msgspec

from pipeline import exit_codes, machine
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store
from pipeline.errors import Interrupted, LockedError, MadpipeError
from pipeline.events import Event
from pipeline.project import VALIDATE
from pipeline.run_pipeline import run_pipeline
from pipeline.screen.sweep_lines import SweepScreen
from pipeline.signals import stop_on_signals
from pipeline.sweep import pareto, results
from pipeline.sweep.combinations import Combination
from pipeline.sweep.jobs import Launcher, StopAsked
from pipeline.sweep.records import Row, Sweep
from pipeline.sweep.side_by_side import SideBySide
from pipeline.sweep.stores import FOLDER, reclaim, sweep_store


class Plan(NamedTuple):
    """What to run, and how."""

    combinations: Sequence[Combination]
    target: str
    """The last stage."""
    command: str
    launcher: Launcher | None = None
    """Runs jobs side by side; None: everything runs one after the other in this process."""
    jobs: int = 1
    notes: tuple[str, ...] = ()

    @property
    def store(self) -> Store:
        """Return the working folder, which all combinations have in common."""
        return self.combinations[0].project.store


class Outcome(NamedTuple):
    """What a sweep left, and what stopped it before its end, where something did."""

    sweep: Sweep
    stopped: MadpipeError | None


def run_sweep(plan: Plan, screen: SweepScreen) -> Outcome:
    """Run every combination; one that fails does not keep the others from theirs.

    A signal, or a working folder that can no longer be written, ends the sweep; its rows are
    complete all the same, and what is stored is never lost.
    """
    began_utc = datetime.now(UTC).isoformat(timespec="seconds")
    begin_s = time.perf_counter()
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        screen(None, Event.now("note", {"text": text}))

    for text in plan.notes:
        note(text)
    rows: dict[int, Row] = {}
    stopped: MadpipeError | None = None
    with stop_on_signals() as stop_asked:
        try:
            _run_all(plan, screen, rows, note, stop_asked)
        except MadpipeError as error:
            stopped = error
        for combination in plan.combinations:
            if combination.number not in rows:
                rows[combination.number] = _stored_row(combination, plan.target)
    is_judged = plan.target == VALIDATE
    finished = pareto.with_fronts([rows[number] for number in sorted(rows)])
    if incomparable := pareto.why_incomparable(finished):
        note(incomparable)
    smallest = pareto.smallest(finished)
    root = plan.combinations[0].project.path.resolve().parent
    sweep = Sweep(
        command=plan.command,
        started_utc=began_utc,
        elapsed_s=round(time.perf_counter() - begin_s, 1),
        stage=plan.target,
        is_judged=is_judged,
        rows=tuple(finished),
        smallest=smallest.number if smallest else None,
        options=plan.combinations[smallest.number - 1].options if smallest else None,
        notes=tuple(dict.fromkeys(notes)),
        is_interrupted=stopped is not None,
        environment=machine.environment(root),
    )
    return Outcome(sweep, stopped)


def _run_all(
    plan: Plan,
    screen: SweepScreen,
    rows: dict[int, Row],
    note: Callable[[str], None],
    stop_asked: StopAsked,
) -> None:
    """Fill `rows`, in order but for those that fail side by side.

    Raises:
        Interrupted: A signal asked to stop.
        StoreError: The working folder cannot be read or written.
    """
    errors = {}
    if plan.launcher is not None:
        errors = _run_side_by_side(plan, plan.launcher, screen, note, stop_asked)
    else:
        _reclaim(plan, note)
    for combination in plan.combinations:
        if error := errors.get(combination.number):
            rows[combination.number] = results.failed_row(combination, error)
            _emit_row(screen, rows[combination.number])
    for combination in plan.combinations:
        if combination.number in rows:
            continue
        if stop_asked():
            raise Interrupted("sweep", "interrupted", "the same command goes on from here")
        fields = {"changes": combination.changes}
        screen(combination.number, Event.now("combination_started", fields))
        rows[combination.number] = _run_one(plan, combination, screen)
        _emit_row(screen, rows[combination.number])


def _run_side_by_side(
    plan: Plan,
    launcher: Launcher,
    screen: SweepScreen,
    note: Callable[[str], None],
    stop_asked: StopAsked,
) -> dict[int, str]:
    """Run jobs for all combinations, and return the errors of those that failed by number."""
    errors: dict[int, str] = {}
    combinations = []
    for combination in plan.combinations:
        try:
            project = combination.project.fetch([plan.target])
        except MadpipeError as error:
            errors[combination.number] = str(error)
        else:
            combinations.append(Combination(combination.number, combination.changes, project))
    wait_s = max(item.project.settings.run.lock_wait_s for item in plan.combinations)
    with write_lock(
        sweep_store(plan.store),
        command=plan.command,
        wait_s=wait_s,
        on_wait=note,
        stop_asked=stop_asked,
    ):
        side_by_side = SideBySide(
            store=plan.store,
            launcher=launcher,
            jobs=plan.jobs,
            command=plan.command,
            lock_wait_s=wait_s,
            stop_asked=stop_asked,
            on_event=screen,
            note=note,
        )
        return errors | side_by_side.run(combinations, plan.target)


def _reclaim(plan: Plan, note: Callable[[str], None]) -> None:
    """Bring back what jobs of a sweep that was killed left, unless another sweep is at it."""
    if not (plan.store.home / FOLDER).is_dir():
        return
    try:
        with (
            write_lock(sweep_store(plan.store), command=plan.command),
            write_lock(plan.store, command=plan.command),
        ):
            reclaim(plan.store, note)
    except LockedError:
        return  # the run that follows waits for it, or says who holds the folder


def _run_one(plan: Plan, combination: Combination, screen: SweepScreen) -> Row:
    """Run one combination alone up to the last stage, and return its row."""
    try:
        rows: list[Row] = []
        run_pipeline(
            combination.project,
            [plan.target],
            force=(),
            sinks=[partial(screen, combination.number)],
            command=plan.command,
            inconclusive=exit_codes.DONE,
            on_stored=lambda entries: rows.append(
                results.finished_row(combination, plan.target, entries)
            ),
        )
        return rows[-1]
    except Interrupted:
        raise
    except MadpipeError as error:
        return results.failed_row(combination, str(error))


def _stored_row(combination: Combination, target: str) -> Row:
    """Return the row of a combination that this sweep did not come to: what is stored of it."""
    try:
        planned = combination.project.plan([target])
        entries = {item.stage.name: item.entry for item in planned if item.entry is not None}
        if len(entries) == len(planned):
            return results.finished_row(combination, target, entries)
    except MadpipeError as error:
        return results.failed_row(combination, str(error))
    return results.unfinished_row(combination)


def _emit_row(screen: SweepScreen, row: Row) -> None:
    fields = msgspec.to_builtins(row)
    del fields["number"]  # which every event of a combination carries
    screen(row.number, Event.now("combination_done", fields))

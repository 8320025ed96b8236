"""One run from start to end: plan, check the machine, take the lock, run, judge, record."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipeline import estimates, exit_codes, machine, run_records
from pipeline.cache import leftovers
from pipeline.cache.digests import DigestCache
from pipeline.cache.entry import Entry
from pipeline.cache.lock import write_lock
from pipeline.config.load import table_of
from pipeline.errors import LockedError, MadpipeError, StoreError
from pipeline.estimates import RateRecorder
from pipeline.events import Sink, broadcast
from pipeline.gates.judge import Verdict, exit_code, judge
from pipeline.gates.measurements import Measurements
from pipeline.gates.real_images import RealImages
from pipeline.planner import ALL, Planned, named
from pipeline.project import DISTILL, VALIDATE, Project, measurements_of, real_images_of
from pipeline.run_records import RunRecord
from pipeline.runner import Runner
from pipeline.shared_cache import SharedCache
from pipeline.signals import stop_on_signals
from pipeline.stage import Stage
from pipeline.texts import printable
from pipeline.track.session import tracked


class _Results(NamedTuple):
    """What is read of the entries of a run while they are sure to be there."""

    real_images: RealImages | None
    measurements: Measurements | None
    """None where nothing is to be judged."""


def run_pipeline(
    project: Project,
    targets: Sequence[str],
    *,
    force: Sequence[str],
    sinks: list[Sink],
    command: str,
    inconclusive: int,
    is_smoke: bool = False,
    on_stored: Callable[[Mapping[str, Entry]], None] = lambda _: None,
) -> int:
    """Bring `targets` to stored entries, judge what is measured, and return the exit code.

    A record of the run, with its `command` line, is kept also when it fails. The stages named by
    `force` run although they are stored. Where a gate cannot decide, the code is `inconclusive`.

    `on_stored` gets the entries that the run used while `cache gc` cannot take any: under the lock,
    or without it and then once more where one was taken. Later another run may have used others.

    A smoke run plays a few of everything in all `targets`, in a working folder of its own; it
    judges nothing and emits what the real run will take.

    Raises:
        MadpipeError: A stage failed, the machine lacks something, or a signal came.
    """
    begin_s, command = time.perf_counter(), printable(command)
    store = project.store
    digest_cache = DigestCache(store.digest_cache_path)
    if is_smoke:
        project, force = project.as_smoke(), (ALL,)
    forced = named(project.stages, force)
    project = project.fetch(targets)
    recorder = RateRecorder(project.stages, project.settings)
    sinks = [*sinks, recorder]
    planned = project.plan(targets, forced, digest_cache)
    names = [item.stage.name for item in planned]
    broadcast(sinks, "run_started", None, {"stages": names, "command": command})
    project.store.prepare()
    with contextlib.ExitStack() as on:
        followed = sinks if is_smoke else on.enter_context(tracked(project, targets, sinks))
        runner = _runner(project, digest_cache, followed, forced, is_smoke=is_smoke)
        results = _run_recorded(_Run(project, runner, planned, command, on_stored))
        if recorder.rates:
            store.prepare()
            with store.io_errors():
                estimates.save(store.home, recorder.rates)
        code = _end(project, results, followed, inconclusive)
    if is_smoke:
        _end_smoke(project, [item.stage for item in planned], store.home, sinks)
    seconds = time.perf_counter() - begin_s
    broadcast(sinks, "run_done", None, {"exit_code": code, "seconds": round(seconds, 3)})
    return code


class _Run(NamedTuple):
    """A run as it is planned."""

    project: Project
    runner: Runner
    planned: Sequence[Planned]
    command: str
    on_stored: Callable[[Mapping[str, Entry]], None]

    @property
    def was_stored(self) -> bool:
        """Whether all was stored when it was planned."""
        return all(item.action == "hit" for item in self.planned)

    def read(self) -> _Results:
        """Read what is said and judged of its entries.

        Raises:
            StoreError: One is damaged or gone.
        """
        entries = self.runner.entries
        used = real_images_of(entries.get(DISTILL))
        is_judged = VALIDATE in entries and not self.runner.is_smoke
        measurements = measurements_of(entries[VALIDATE]) if is_judged else None
        self.on_stored(entries)
        return _Results(used, measurements)


def _run_recorded(run: _Run) -> _Results:
    """Run what is planned and keep a record of it, also where it fails."""
    project, runner = run.project, run.runner
    begin_s = time.perf_counter()
    # What holds at the start, which hours of training may lie behind at the end.
    record = RunRecord(
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        command=run.command,
        elapsed_s=0.0,
        stages=runner.records,
        gates=project.settings.gates,
        file_gates=table_of(project.path, "gates"),
        environment=machine.environment(project.path.resolve().parent),
    )
    failure: MadpipeError | None = None
    try:
        return _run_planned(run)
    except MadpipeError as error:
        failure = error
        runner.record_failure(error)
        raise
    finally:
        seconds = time.perf_counter() - begin_s
        try:
            run_records.save(project.store, msgspec.structs.replace(record, elapsed_s=seconds))
        except StoreError as error:
            if failure is None:
                raise
            raise failure from error  # why the run failed comes first


def _end(project: Project, results: _Results, sinks: list[Sink], inconclusive: int) -> int:
    """Emit what is to be said of a run that came to its end, and return its exit code."""
    used = results.real_images
    if used is not None and not used.is_data_free:
        broadcast(sinks, "note", None, {"text": used.statement})
    if results.measurements is None:
        return exit_codes.DONE
    return _judge(project, results.measurements, sinks, inconclusive)


def _runner(
    project: Project,
    digest_cache: DigestCache,
    sinks: list[Sink],
    forced: frozenset[str],
    *,
    is_smoke: bool,
) -> Runner:
    """Return what runs stages, with the cache that `[cache]` names, opened when a stage would run.

    A smoke run has none.
    """
    runner = Runner(
        project.settings, project.store, digest_cache, sinks, force=forced, is_smoke=is_smoke
    )
    if project.settings.cache.remote is None or is_smoke:
        return runner
    runner.shared = SharedCache(
        project.settings.cache,
        project.path.resolve().parent,
        note=lambda stage, text: broadcast(runner.sinks, "note", stage, {"text": text}),
        stop_asked=lambda: runner.stop_asked(),  # noqa: PLW0108  (it is set under the lock)
    )
    return runner


def _judge(
    project: Project, measurements: Measurements, sinks: list[Sink], inconclusive: int
) -> int:
    """Judge what was measured by the gates, and return the exit code that follows."""
    verdicts = judge(measurements, project.settings.gates)
    emit_verdicts(verdicts, sinks)
    if not verdicts:
        broadcast(sinks, "note", None, {"text": "nothing was judged: the settings have no gates"})
    return exit_code(verdicts, inconclusive)


def _end_smoke(project: Project, stages: Sequence[Stage], home: Path, sinks: list[Sink]) -> None:
    """Say that nothing is judged, and what the real run of these stages will take."""
    text = "gates are skipped: a smoke run judges nothing, and no other run uses what it leaves"
    broadcast(sinks, "note", None, {"text": text})
    rates = estimates.load(home)
    known = {stage.name: estimates.estimate(stage, project.settings, rates) for stage in stages}
    broadcast(sinks, "estimate", None, estimates.as_fields(known))


def emit_verdicts(verdicts: Sequence[Verdict], sinks: list[Sink]) -> None:
    """Emit one event for each verdict."""
    for verdict in verdicts:
        broadcast(sinks, "gate", None, msgspec.structs.asdict(verdict))


def _run_planned(run: _Run) -> _Results:
    """Use what is stored; run under the lock where anything is not."""
    project, runner = run.project, run.runner
    # Without the lock `cache gc` may remove a stored stage between its check and its use.
    results = runner.use_stored(run.planned, run.read) if run.was_stored else None
    if results is not None:
        _remove_leftovers(project, run.command)
    else:
        try:
            if runner.shared is None:
                runner.check_requirements(run.planned)
            results = _run_locked(run)
        except BaseException:
            # A run that fails has read the data folder as well; without room it is read again.
            with contextlib.suppress(OSError):
                runner.digest_cache.save()
            raise
    with project.store.io_errors():
        runner.digest_cache.save()
    return results


def _remove_leftovers(project: Project, command: str) -> None:
    """Remove the work of stored stages that a kill left, unless another process writes here."""
    if leftovers.work_of_entries(project.store):
        with contextlib.suppress(LockedError), write_lock(project.store, command=command):
            pass  # the next run removes it


def _run_locked(run: _Run) -> _Results:
    """Run the stages under the lock, until a signal asks to stop."""
    project, runner = run.project, run.runner
    with stop_on_signals() as stop_asked:
        runner.stop_asked = stop_asked
        with write_lock(
            project.store,
            command=run.command,
            wait_s=project.settings.run.lock_wait_s,
            on_wait=lambda text: broadcast(runner.sinks, "waiting", None, {"text": text}),
            stop_asked=stop_asked,
        ):
            stages = [item.stage for item in run.planned]
            if runner.shared is not None or run.was_stored:  # and some were removed since
                # What another machine computed asks nothing of this one.
                runner.check_requirements(runner.bring(stages))
            runner.run(stages)
            return run.read()

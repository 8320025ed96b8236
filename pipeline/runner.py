"""Running stages: use what is stored, run what is not, store what ran.

Knows nothing of what stages do nor of the screen: it emits events. `pipeline.run_pipeline` is a
whole run around it, with lock, record and gates.
"""

import pkgutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pipeline import __version__, collector, machine
from pipeline.atomic import make_folders, naming
from pipeline.cache.digests import DigestCache
from pipeline.cache.entry import Entry, EntryRecord, OutputRecord
from pipeline.cache.keys import changed_since, file_sha256
from pipeline.cache.store import Store, remove_tree
from pipeline.checkpoint import Checkpoints
from pipeline.errors import Interrupted, MadpipeError, StageError, StoreError
from pipeline.events import EVENTS_FILE, Sink, broadcast, event_log, logged_s
from pipeline.planner import Planned, plan, plan_stage
from pipeline.run_records import StageRecord
from pipeline.settings import Settings
from pipeline.shared_cache import SharedCache
from pipeline.stage import Context, Stage

Status = Literal["hit", "ran", "resumed"]
Emit = Callable[[str, Mapping[str, Any]], None]
T = TypeVar("T")


@dataclass(slots=True)
class Runner:
    """Runs stages in order against one store."""

    settings: Settings
    store: Store
    digest_cache: DigestCache
    sinks: list[Sink]
    stop_asked: Callable[[], bool] = lambda: False
    force: frozenset[str] = frozenset()
    is_smoke: bool = False
    shared: SharedCache | None = None
    """The cache that machines share, where there is one."""
    entries: dict[str, Entry] = field(default_factory=dict)
    """The entries of the stages that are done."""
    records: list[StageRecord] = field(default_factory=list)
    """What became of each stage."""
    current: Planned | None = None
    """The stage under way; what failed, where something did."""
    _imported: dict[str, str] = field(default_factory=dict)
    """The digests of the code of the stages that ran, when each began."""

    def use_stored(self, planned: Sequence[Planned], read: Callable[[], T]) -> T | None:
        """Take planned hits as they are; fills `entries` and `records`.

        Without the lock `cache gc` may take some at any moment, but for those that are marked as
        used last. So they are marked, and `read` is called, which reads what is needed of them.

        Returns:
            What `read` returned, None where some are gone: nothing is taken then.

        Raises:
            StoreError: `read` raised it, and all are there.
        """
        hits = {item.stage.name: item.entry for item in planned if item.entry is not None}
        marked = {stage: self.store.newest_path(stage) for stage in hits}
        with self.store.io_errors():
            for stage, entry in hits.items():
                self.store.mark_newest(stage, entry.record.key)
        self.entries |= hits
        try:
            results = read() if self._are_there(hits) else None
        except StoreError:
            if self._are_there(hits):
                self._take(hits)
                raise
            results = None
        if results is None:
            self.entries.clear()
            with self.store.io_errors():
                for stage, path in marked.items():
                    if path is not None:
                        self.store.mark_newest(stage, path.name)
            return None
        self._take(hits)
        return results

    def _take(self, hits: Mapping[str, Entry]) -> None:
        for stage, entry in hits.items():
            self._finish(stage, "hit", entry, 0.0)

    def _are_there(self, entries: Mapping[str, Entry]) -> bool:
        return all(
            self.store.read(stage, entry.record.key) == entry for stage, entry in entries.items()
        )

    def bring(self, stages: Sequence[Stage]) -> list[Planned]:
        """Bring from the shared cache what it has of `stages`; return what is left to do.

        Raises:
            Interrupted: A signal asked to stop.
            StoreError: The working folder cannot be read or written.
        """
        return plan(
            stages,
            self.settings,
            self.store,
            self.digest_cache,
            self.force,
            bring=self._brought,
        )

    def check_requirements(self, planned: Sequence[Planned]) -> None:
        """Make sure that the machine has what the stages that are to run need.

        Raises:
            UnavailableError: It lacks something; `current` is the stage that needs it.
        """
        for item in planned:
            self.current = item
            for requirement in item.stage.requires if item.action != "hit" else ():
                requirement.check()
        self.current = None

    def run(self, stages: Sequence[Stage]) -> None:
        """Bring every one of the ordered `stages` to a stored entry; fills `entries` and `records`.

        Raises:
            StageError: A stage failed; nothing of it is stored but its checkpoint.
            Interrupted: A signal asked to stop.
            StoreError: The working folder cannot be read or written.
        """
        for stage in stages:
            self.current = Planned(stage, "wait", ())
            if self.stop_asked():
                raise Interrupted("madpipe", "interrupted", "the same command goes on from here")
            begin_s = time.perf_counter()
            forced = stage.name in self.force
            item = plan_stage(
                stage, self.settings, self.store, self.digest_cache, self.entries, force=forced
            )
            self.current = item = self._brought(item)
            status: Status = "hit"
            entry = item.entry
            if entry is None:
                self._check_code(item)
                status = "resumed" if item.action == "resume" else "ran"
                with self.store.io_errors():
                    entry = self._run_stage(item)
                if self.shared is not None:
                    self.shared.push(entry)
            with self.store.io_errors():
                self.store.mark_newest(stage.name, entry.record.key)
            self._finish(stage.name, status, entry, time.perf_counter() - begin_s)
        self.current = None

    def record_failure(self, error: MadpipeError) -> None:
        """Record that the stage under way, where there is one, failed."""
        if self.current is not None:
            name, key = self.current.stage.name, self.current.key
            failed = StageRecord(name=name, status="failed", key=key, message=str(error))
            self.records.append(failed)

    def _finish(self, stage: str, status: Status, entry: Entry, elapsed_s: float) -> None:
        key = entry.record.key
        self.entries[stage] = entry
        self.records.append(StageRecord(name=stage, status=status, key=key, elapsed_s=elapsed_s))
        seconds, metrics = round(entry.record.seconds, 3), entry.record.metrics
        fields = {"status": status, "seconds": seconds, "key": key, "metrics": metrics}
        broadcast(self.sinks, "stage_done", stage, fields)

    def _brought(self, item: Planned) -> Planned:
        """Return a stage as a hit where the shared cache has its entry, else as it is."""
        name = item.stage.name
        if self.shared is None or item.key is None or item.entry or name in self.force:
            return item
        entry = self.shared.fetch(self.store, name, item.key)
        return item._replace(action="hit", reasons=(), entry=entry) if entry else item

    def _check_code(self, item: Planned) -> None:
        """Make sure that code which an earlier stage of this run imported is still what it was.

        Raises:
            StageError: It is not, and this process would run what it was.
        """
        assert item.key_document is not None
        code = item.key_document["code"]
        if changed := [name for name, it in code.items() if self._imported.get(name, it) != it]:
            wrong = f"its code was changed since this run began ({', '.join(changed[:3])})"
            raise StageError(f"stage {item.stage.name}", wrong, "run it again")
        self._imported |= code

    def _check_unchanged(self, item: Planned, work: Path) -> None:
        """Make sure that a stage's outside files and code stayed as they were while it ran.

        Raises:
            StageError: Some did not, so what it leaves is of no key; nor is its checkpoint, where
                files that it goes on reading changed.
        """
        assert item.key_document is not None
        files, code = changed_since(item.stage, item.key_document, self.digest_cache)
        if not files and not code:
            return
        remedy = "run it again; with the code as it was it goes on from its checkpoint, if any"
        if files:
            remove_tree(work / "checkpoint")
            remedy = "run it again, on files that nobody writes meanwhile"
        wrong = f"what it reads was changed while it ran ({', '.join([*files, *code][:3])})"
        raise StageError(f"stage {item.stage.name}", wrong, remedy)

    def _run_stage(self, item: Planned) -> Entry:
        """Run one stage in its work folder and store what it leaves."""
        stage, is_resumed = item.stage, item.action == "resume"
        assert item.key is not None
        for requirement in stage.requires:
            requirement.check()
        work = self.store.work_path(stage.name, item.key)
        if is_resumed:
            self.store.check_unfinished(stage.name, item.key)
        if is_resumed and (work / "out" / EVENTS_FILE).is_file():
            # A kill came while it was stored: what its earlier sessions told goes on as well.
            with naming(work / EVENTS_FILE):
                (work / "out" / EVENTS_FILE).replace(work / EVENTS_FILE)
        remove_tree(work / "out" if is_resumed else work)
        make_folders(work / "out")
        (work / "failure.txt").unlink(missing_ok=True)
        inputs = {}
        for name in stage.inputs:
            source, _, output = name.partition("/")
            inputs[name] = self.entries[source].output(output)
        seconds = logged_s(work / EVENTS_FILE)
        with event_log(work / EVENTS_FILE) as log:

            def emit(kind: str, fields: Mapping[str, Any]) -> None:
                broadcast([*self.sinks, log], kind, stage.name, fields)

            emit("stage_started", {"reason": list(item.reasons), "resumed": is_resumed})
            begin_s = time.perf_counter()
            context = Context(
                stage=stage,
                settings=self.settings,
                inputs=inputs,
                out=work / "out",
                checkpoints=Checkpoints(
                    work / "checkpoint",
                    stage=stage.name,
                    every_s=self.settings.run.checkpoint_every_s,
                    stop_asked=self.stop_asked,
                ),
                emit=emit,
                stop_asked=self.stop_asked,
                cache=self.store.home / "cache" / stage.name,
                is_smoke=self.is_smoke,
            )
            self._call(item, context, work, emit)
        seconds += time.perf_counter() - begin_s
        return self._commit(item, context.metrics, work, seconds)

    def _call(self, item: Planned, context: Context, work: Path, emit: Emit) -> None:
        """Import and call the stage's function; turn what it raises into one error of ours."""
        stage = item.stage
        try:
            with collector.paused():
                run = pkgutil.resolve_name(stage.run)
            run(context)
            for name, file in stage.outputs.items():
                if not context.output(name).is_file():
                    wrong = f"did not write what it declares ({name})"
                    remedy = f"write {file} in {stage.run}"
                    raise StageError(f"stage {stage.name}", wrong, remedy)  # noqa: TRY301
            self._check_unchanged(item, work)
        except Interrupted:
            raise
        except (MadpipeError, OSError) as error:
            emit("stage_failed", {"message": str(error)})
            raise
        except Exception as error:
            (work / "failure.txt").write_text(traceback.format_exc(), encoding="utf-8")
            wrong = f"failed ({type(error).__name__}: {error})"
            remedy = f"see {work / 'failure.txt'}, or repeat with --traceback"
            failure = StageError(f"stage {stage.name}", wrong, remedy)
            emit("stage_failed", {"message": str(failure)})
            raise failure from error

    def _commit(self, item: Planned, metrics: dict[str, Any], work: Path, seconds: float) -> Entry:
        assert item.key is not None
        assert item.key_document is not None
        outputs = {}
        for name, file in item.stage.outputs.items():
            path = work / "out" / file
            size = path.stat().st_size
            outputs[name] = OutputRecord(file=file, sha256=file_sha256(path), bytes=size)
        with naming(work / "out" / EVENTS_FILE):
            (work / EVENTS_FILE).rename(work / "out" / EVENTS_FILE)
        record = EntryRecord(
            stage=item.stage.name,
            key=item.key,
            key_document=item.key_document,
            outputs=outputs,
            metrics=metrics,
            seconds=seconds,
            resumed=item.action == "resume",
            created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            madpipe=__version__,
            host=machine.host(),
        )
        entry = self.store.commit(work / "out", record)
        remove_tree(work)
        return entry

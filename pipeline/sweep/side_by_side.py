"""Stages of several combinations side by side, up to those that measure time.

A wave has one job for each stage that is not stored and whose inputs are; combinations that
share a stage, such as a teacher, share its job. What the jobs leave lies in the store like the
results of any run, so all that follows finds them there.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

from pipeline import exit_codes
from pipeline.cache.digests import DigestCache
from pipeline.cache.entry import Entry
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store
from pipeline.errors import Interrupted, LockedError, MadpipeError, StoreError
from pipeline.events import Event
from pipeline.planner import Planned, plan_stage, selected
from pipeline.project import VALIDATE, Project
from pipeline.runner import Runner
from pipeline.shared_cache import SharedCache
from pipeline.stage import Stage
from pipeline.sweep.combinations import Combination
from pipeline.sweep.jobs import Finished, Job, Launcher, StopAsked
from pipeline.sweep.stores import bring_back, job_store, lend, reclaim

MEASURES_TIME = frozenset({"build", VALIDATE})
"""Stages that measure how fast an engine is, and so run alone."""
_ENDING_S = 20.0
"""How long to wait for a job that has ended on another machine to let go of its folder."""

OnEvent = Callable[[int, Event], None]
"""Called with the number of a combination and an event of it."""


@dataclass(slots=True)
class Track:
    """How far one combination is."""

    combination: Combination
    stages: tuple[Stage, ...]
    """In order, without those that measure time."""
    entries: dict[str, Entry] = field(default_factory=dict)
    error: str = ""
    """Why it goes no further."""

    def advance(self, store: Store, digest_cache: DigestCache) -> Planned | None:
        """Use what is stored, and return the first stage that is not, None where all are."""
        for stage in self.stages:
            if stage.name in self.entries:
                continue
            settings = self.combination.project.settings
            item = plan_stage(stage, settings, store, digest_cache, self.entries)
            if item.entry is None:
                return item
            self.entries[stage.name] = item.entry
        return None


class SideBySide:
    """Runs jobs in waves; one sweep at a time in a working folder."""

    def __init__(
        self,
        *,
        store: Store,
        launcher: Launcher,
        jobs: int,
        command: str,
        lock_wait_s: float,
        stop_asked: StopAsked,
        on_event: OnEvent,
        note: Callable[[str], None],
    ) -> None:
        """Run up to `jobs` at once by `launcher`, and bring what they leave into `store`."""
        self._store = store
        self._launcher = launcher
        self._jobs = jobs
        self._command = command
        self._lock_wait_s = lock_wait_s
        self._stop_asked = stop_asked
        self._on_event = on_event
        self._note = note
        self._digest_cache = DigestCache(store.digest_cache_path)
        self._done_keys: set[str] = set()

    def run(self, combinations: Sequence[Combination], target: str) -> dict[int, str]:
        """Bring up all stages before those that measure time; return the errors by number.

        Raises:
            Interrupted: A signal asked to stop; every job has kept its checkpoint.
            StoreError: The working folder cannot be read or written.
        """
        shared = self._shared_cache(combinations[0].project) if combinations else None
        tracks = [self._track(combination, target, shared) for combination in combinations]
        with self._locked():
            reclaim(self._store, self._note)
        while not self._stop_asked() and (
            wave := self._wave([track for track in tracks if not track.error])
        ):
            with self._locked(), self._store.io_errors():
                self._digest_cache.save()
                for job, entries in wave:
                    lend(self._store, job.store, entries.values(), job.stage, job.key)
            self._run_wave([job for job, _ in wave], tracks)
        if self._stop_asked():
            raise Interrupted("sweep", "interrupted", "the same command goes on from here")
        return {track.combination.number: track.error for track in tracks if track.error}

    def _shared_cache(self, project: Project) -> SharedCache | None:
        """Return the cache that machines share, where the settings name one."""
        if project.settings.cache.remote is None:
            return None
        return SharedCache(
            project.settings.cache,
            project.path.resolve().parent,
            note=lambda stage, text: self._note(f"{stage}: {text}"),
            stop_asked=self._stop_asked,
        )

    def _locked(self) -> AbstractContextManager[None]:
        return write_lock(
            self._store,
            command=self._command,
            wait_s=self._lock_wait_s,
            on_wait=self._note,
            stop_asked=self._stop_asked,
        )

    def _track(self, combination: Combination, target: str, shared: SharedCache | None) -> Track:
        """Look for what the machine lacks before anything runs, as any run does.

        What another machine computed is brought first, since it asks nothing of this one.
        """
        project = combination.project
        stages = selected(project.stages, [target])
        track = Track(combination, tuple(s for s in stages if s.name not in MEASURES_TIME))
        runner = Runner(project.settings, self._store, self._digest_cache, sinks=[], shared=shared)
        try:
            planned = project.plan([target], digest_cache=self._digest_cache)
            if shared is not None and any(item.action != "hit" for item in planned):
                with self._locked():
                    planned = runner.bring(stages)
            runner.check_requirements(planned)
        except (Interrupted, StoreError):
            raise
        except MadpipeError as error:
            track.error = str(error)
        return track

    def _wave(self, tracks: Sequence[Track]) -> list[tuple[Job, Mapping[str, Entry]]]:
        groups: dict[tuple[str, str], list[Track]] = {}
        for track in tracks:
            item = track.advance(self._store, self._digest_cache)
            if item is None:
                continue
            assert item.key is not None
            if item.key in self._done_keys:
                wrong = f"its job stored no result of this key ({item.key[:16]})"
                remedy = "let jobs run with the same versions of packages and code as the sweep"
                track.error = f"{item.stage.name}: {wrong}; {remedy}"
                continue
            groups.setdefault((item.stage.name, item.key), []).append(track)
        wave: list[tuple[Job, Mapping[str, Entry]]] = []
        for (stage, key), sharers in groups.items():
            first = sharers[0]
            job = Job(
                combinations=tuple(track.combination for track in sharers),
                stage=stage,
                key=key,
                # What nobody shares goes on to its end in the same process.
                target=first.stages[-1].name if len(sharers) == 1 else stage,
                store=job_store(self._store, stage, key),
            )
            wave.append((job, first.entries))
            self._done_keys.add(key)
        return wave

    def _run_wave(self, jobs: Sequence[Job], tracks: Sequence[Track]) -> None:
        """Run all jobs, bring back what each leaves as it ends, and note which failed.

        Raises:
            StoreError: What one left cannot be brought back. The others have ended by then, with
                checkpoints, and the next sweep brings back what they left.
        """
        import joblib  # noqa: PLC0415  (only jobs pay for it)

        parallel = joblib.Parallel(
            n_jobs=min(self._jobs, len(jobs)),
            backend="threading",  # each thread waits for a process of its own
            return_as="generator_unordered",
        )
        by_number = {track.combination.number: track for track in tracks}
        failures: list[MadpipeError] = []
        # To the last one, also after a failure: joblib would drop those that run, with a warning.
        for ended in parallel(joblib.delayed(self._run_job)(job, failures) for job in jobs):
            if failures:
                continue
            try:
                error = self._bring_back(ended)
            except MadpipeError as failure:
                failures.append(failure)
                continue
            for combination in ended.job.combinations if error else ():
                by_number[combination.number].error = error
        if failures:
            raise failures[0]

    def _bring_back(self, ended: Finished) -> str:
        """Bring back what a job left; return why it failed, nothing where it did not."""
        folder = ended.job.store.home.resolve()
        # Also while a stop is under way: it takes a moment, and is what keeps the checkpoint.
        with write_lock(
            self._store, command=self._command, wait_s=self._lock_wait_s, on_wait=self._note
        ):
            try:
                bring_back(ended.job.store, self._store, wait_s=_ENDING_S)
            except LockedError as error:
                return str(error)
        if ended.code == exit_codes.INTERRUPTED and not self._stop_asked():
            return f"{ended.job.stage}: its process was stopped; the same command goes on from here"
        # Its folder is gone: what a message names there has come back with the unfinished stage.
        return ended.error.replace(str(folder), str(self._store.home))

    def _run_job(self, job: Job, failures: list[MadpipeError]) -> Finished:
        """Run a job until it ends; failures of any other stop it, and its own are added to them."""
        first, *others = (combination.number for combination in job.combinations)
        text = f"waits for its {job.stage}, which is that of [{first}]"
        try:
            for number in others:
                self._on_event(number, Event.now("waiting", {"text": text}))
            return self._launcher(
                job,
                partial(self._on_event, first),
                lambda: bool(failures) or self._stop_asked(),
            )
        except MadpipeError as error:  # such as of the screen, whose reader is gone
            failures.append(error)
            return Finished(job, error.exit_code, str(error))
        except OSError as error:  # such as no room for what it prints
            # By the name of the working folder, since that of the job does not stay.
            failure = self._store.failure(OSError(error.errno, error.strerror))
            return Finished(job, exit_codes.FAILED, str(failure))

"""The trackers of one run: opened where settings name some, closed with the report at its end."""

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from pipeline import run_records
from pipeline.errors import Interrupted, LockedError, MadpipeError, error_summary
from pipeline.events import Sink, broadcast
from pipeline.paths import expanded
from pipeline.project import Project
from pipeline.settings import Settings
from pipeline.track.outbox import Outbox
from pipeline.track.resumption import Resumption, resumption
from pipeline.track.sink import TrackSink
from pipeline.track.tracker import NoClientError, Outcome, RunInfo, Scalar, opener

_FOLDER = "track"
"""Where trackers without a server write: the runs that have not ended, the report on its way."""
_NO_PARAMETERS = ("cache", "run", "track")
"""Tables that are of no run's result; the URL of a cache may hold a password besides."""


@contextlib.contextmanager
def tracked(project: Project, targets: Sequence[str], sinks: list[Sink]) -> Iterator[list[Sink]]:
    """Yield the sinks of a run of `targets`, with one for the trackers that its settings name.

    What goes wrong with a tracker is a note in `sinks` and changes nothing else.
    """
    if not project.settings.track.to:
        yield sinks
        return
    with contextlib.ExitStack() as on:
        try:
            project.store.prepare()
            sink = on.enter_context(_opened(project, targets, sinks))
        except (MadpipeError, OSError) as error:
            _note(sinks, f"no tracker follows this run ({error_summary(error)})")
            yield sinks
            return
        yield [*sinks, sink]


@contextlib.contextmanager
def _opened(project: Project, targets: Sequence[str], sinks: list[Sink]) -> Iterator[TrackSink]:
    track, store = project.settings.track, project.store
    parameters = flat_settings(project.settings)
    identity = {
        "targets": list(targets),
        "settings": parameters,
        "project": track.project,
        "run": track.run,
    }
    name = track.run or _default_name(project.settings)
    newest_before = run_records.newest_path(store)
    with resumption(_home(project) / _FOLDER, identity, name) as held:
        outboxes = _outboxes(project, held, parameters, sinks)
        sink = TrackSink(outboxes, store, held, sinks)
        is_ended = True
        outcome: Outcome = "failed"
        try:
            yield sink
            outcome = "done"
        # Where another process holds the folder nothing ran, and what was stopped before goes on.
        except (Interrupted, KeyboardInterrupt, LockedError):
            is_ended, outcome = False, "interrupted"
            raise
        finally:
            has_report = is_ended and run_records.newest_path(store) != newest_before
            _close(project, sink, outcome, sinks, has_report=has_report)
            if is_ended:
                held.forget()


def _home(project: Project) -> Path:
    """Return the folder of what is written on this machine."""
    folder = project.settings.track.folder
    return expanded(folder, project.path.resolve().parent) if folder else project.store.home


def _close(
    project: Project, sink: TrackSink, outcome: Outcome, sinks: list[Sink], *, has_report: bool
) -> None:
    """Close the trackers, with the report of the run where there is one."""
    wait_s = project.settings.track.wait_s
    with contextlib.ExitStack() as on:
        files: Sequence[Path] = ()
        if has_report:
            try:
                home = _home(project) / _FOLDER
                folder = tempfile.TemporaryDirectory(dir=home, ignore_cleanup_errors=True)
                files = _report(project, Path(on.enter_context(folder)))
            except Exception as error:  # noqa: BLE001  (what the run came to stands, whatever a plot raises)
                _note(sinks, f"trackers get no report of this run ({error_summary(error)})")
        sink.close(outcome, files, wait_s)


def _outboxes(
    project: Project, held: Resumption, parameters: Mapping[str, Scalar], sinks: list[Sink]
) -> list[Outbox]:
    """Return an outbox for each tracker that is installed, and note which are not."""
    track = project.settings.track
    outboxes = []
    for name in track.to:
        info = RunInfo(
            project=track.project,
            name=held.name,
            run_id=held.run_id(name),
            folder=_home(project),
            settings=parameters,
            wait_s=track.wait_s,
        )
        try:
            outboxes.append(Outbox(name, opener(name), info, held))
        except NoClientError as error:
            _note(sinks, f"{error}; the run goes on without it")
    return outboxes


def flat_settings(settings: Settings) -> dict[str, Scalar]:
    """Return the settings by their dotted names; lists as JSON, and none that is absent."""
    flat: dict[str, Scalar] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for inner in value:
                add(f"{name}.{inner}" if name else inner, value[inner])
        elif value is not None:
            is_scalar = isinstance(value, str | int | float)
            flat[name] = value if is_scalar else msgspec.json.encode(value).decode()

    tables = msgspec.to_builtins(settings)
    add("", {name: table for name, table in tables.items() if name not in _NO_PARAMETERS})
    return flat


def _default_name(settings: Settings) -> str:
    """Return a name of letters that every tracker takes."""
    arch = re.sub(r"[^\w.-]+", "-", settings.student.arch, flags=re.ASCII).strip("-.")
    return f"{arch}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def _report(project: Project, folder: Path) -> Sequence[Path]:
    """Write the report of the run that ended into a folder, as a page and as JSON.

    The page has no images: held-out ones are not for everyone who may see a tracker, and the
    generators' are sent as they come.
    """
    from pipeline.report import html, records  # noqa: PLC0415  (only tracked runs)
    from pipeline.report.document import document  # noqa: PLC0415

    paths = folder / "report.html", folder / "report.json"
    report = document(project)
    paths[0].write_text(html.render(report, has_pictures=False), encoding="utf-8")
    paths[1].write_text(records.to_json(report), encoding="utf-8")
    return paths


def _note(sinks: list[Sink], text: str) -> None:
    broadcast(sinks, "note", None, {"text": text})

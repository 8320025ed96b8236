"""Trackio: TRACKIO_SERVER_URL or TRACKIO_SPACE_ID where one is set, else a database in the folder.

It reads TRACKIO_DIR when it is imported, so that comes only when a run is opened; one process has
one folder. It prints what it does without a switch for that, so its modules get another `print`.
"""

import builtins
import io
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.track.tracker import Outcome, RunInfo

_FOLDER = "TRACKIO_DIR"
_SERVER, _SPACE = "TRACKIO_SERVER_URL", "TRACKIO_SPACE_ID"
_CONNECT_S = 5.0


def open_run(info: RunInfo) -> "TrackioRun":
    """Begin a run, or go on with that of the name `info.run_id`.

    Raises:
        OSError: Nothing listens at the server that is set; Trackio itself would not say so.
    """
    server = os.environ.get(_SERVER)
    is_local = not (server or os.environ.get(_SPACE))
    if is_local:
        os.environ.setdefault(_FOLDER, str(info.folder.resolve() / "trackio"))
    elif server and not os.environ.get(_SPACE):
        _check_server(server)
    import trackio  # noqa: PLC0415  (it reads the folder when it is imported)

    _silence(trackio.__name__)
    run = trackio.init(
        project=info.project,
        name=info.run_id or (_unused_name(info) if is_local else info.name),
        config=dict(info.settings),
        resume="must" if info.run_id else "never",
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    if not is_local:
        return TrackioRun(run, None)
    # A run that begins has no steps; a job that began in the same second may have its name.
    return TrackioRun(run, _last_steps(run) if info.run_id else {})


class TrackioRun:
    """A run of the client, which writes from a thread of its own."""

    def __init__(self, run: Any, steps: Mapping[str, int] | None) -> None:
        """Use a run that is open, with the last steps of its curves where they are known."""
        self.run_id: str = run.name
        self._run = run
        self._steps = steps
        self._texts: dict[str, str] = {}

    def last_steps(self) -> Mapping[str, int] | None:
        """Return the last step of each group when the run was opened, None of a server's run."""
        return self._steps

    def point(self, group: str, unit: str, step: int, figures: Mapping[str, float]) -> None:
        """Add a point to each curve; Trackio has no names for axes."""
        del unit
        self._run.log(_named(group, figures), step=step)

    def results(self, group: str, figures: Mapping[str, float]) -> None:
        """Log figures once."""
        self._run.log(_named(group, figures), step=0)

    def labels(self, labels: Mapping[str, str]) -> None:
        """Do nothing: the texts say the same."""

    def text(self, name: str, markdown: str) -> None:
        """Keep a text until the end: Trackio adds texts and replaces none."""
        self._texts[name] = markdown

    def picture(self, name: str, step: int, png: bytes) -> None:
        """Log a picture."""
        import trackio  # noqa: PLC0415
        from PIL import Image  # noqa: PLC0415

        self._run.log({name: trackio.Image(Image.open(io.BytesIO(png)))}, step=step)

    def artefact(self, path: Path) -> None:
        """Log the file as an artefact of its name."""
        import trackio  # noqa: PLC0415

        artefact = trackio.Artifact(path.name, type="report")
        artefact.add_file(str(path))
        self._run.log_artifact(artefact)

    def flush(self) -> None:
        """Do nothing: the client writes twice a second."""

    def close(self, outcome: Outcome) -> None:
        """Write what is left, the texts too where the run is over."""
        import trackio  # noqa: PLC0415

        if outcome != "interrupted":
            for name, markdown in self._texts.items():
                self._run.log({name: trackio.Markdown(markdown)}, step=0)
        self._run.finish()


def _named(group: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": figure for name, figure in figures.items()}


def _check_server(url: str) -> None:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_S).close()


def _silence(package: str) -> None:
    def no_print(*texts: object, **how: object) -> None:
        del texts, how

    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == package and getattr(module, "print", None) is not no_print:
            vars(module).setdefault(builtins.print.__name__, no_print)


def _unused_name(info: RunInfo) -> str:
    """Return the name of the run, or one made of it where a run of this folder has it."""
    from trackio.sqlite_storage import SQLiteStorage  # noqa: PLC0415

    used, name, number = set(SQLiteStorage.get_runs(info.project)), info.name, 1
    while name in used:
        number += 1
        name = f"{info.name}-{number}"
    return name


def _last_steps(run: Any) -> dict[str, int]:
    """Return the last step of each group of a run in the folder."""
    from trackio.sqlite_storage import SQLiteStorage  # noqa: PLC0415

    last: dict[str, int] = {}
    for row in SQLiteStorage.get_logs(run.project, run=run.name):
        for name in row:
            group, _, figure = name.rpartition("/")
            if group and figure and isinstance(row[name], int | float):
                last[group] = max(last.get(group, 0), row["step"])
    return last

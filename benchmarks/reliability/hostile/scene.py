"""A folder in which an attack is played: a project, files that are not its own, and a canary."""

import contextlib
import hashlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.reliability import small_project
from benchmarks.reliability.small_project import Ended

_LIMIT_S = 240.0
"""Of one command, on a machine that does other things as well."""
READING = (
    ("plan",),
    ("status",),
    ("why", "distill"),
    ("report",),
    ("gate",),
    ("doctor",),
    ("cache", "ls"),
    ("cache", "verify"),
)
"""Commands that a cautious user tries first in a stranger's folder."""
ANY_END = frozenset({0, 1, 2, 3, 4, 5})
REFUSED = frozenset({1, 2})


class NotSurvivedError(Exception):
    """An attack did harm, or was not answered as it should be; the message says how."""


class Scene:
    """Where an attack is played."""

    def __init__(self, folder: Path, shared: Path) -> None:
        """Make the folders; `shared` holds `finished`, a project that has run."""
        self.folder, self.shared = folder, shared
        self.project = folder / "project"
        self.project.mkdir()
        self.outside = folder / "outside"
        self.canary = folder / "canary"
        self.connections = 0
        for name in ("a", "a/b", "a/b/c"):
            (self.outside / name).mkdir(parents=True)
            (self.outside / name / "notes.txt").write_text("mine\n", encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def code(self) -> str:
        """Return Python that leaves the canary and connects to this program."""
        touch = f"open({str(self.canary)!r}, 'a').close()"
        connect = f"__import__('socket').create_connection(('127.0.0.1', {self.port}), 1).close()"
        return f"[{touch}, {connect}]"

    @property
    def shell(self) -> str:
        """Return a command of a shell that leaves the canary."""
        return f"touch {self.canary}"

    def finished(self) -> Path:
        """Copy the project that has run to this scene; return its working folder."""
        import shutil  # noqa: PLC0415

        shutil.copytree(self.shared / "finished", self.project, dirs_exist_ok=True)
        return self.project / ".madpipe"

    def attempt(
        self,
        *arguments: str,
        codes: frozenset[int] = REFUSED,
        variables: Mapping[str, str] | None = None,
        says: str = "",
    ) -> Ended:
        """Run a command in the project; it must end in time, by its contract and without harm.

        Raises:
            NotSurvivedError: It did not.
        """
        before = self._foreign()
        with self._listening():
            ended = small_project.run(
                self.project,
                *arguments,
                variables=small_project.environment(**(variables or {})),
                limit_s=_LIMIT_S,
            )
        name = f"madpipe {' '.join(arguments)}"[:80]
        written = ended.stdout + ended.stderr
        if self.canary.exists() or self.connections:
            raise NotSurvivedError(f"{name}: expected no code to run, the canary is there")
        if self._foreign() != before:
            raise NotSurvivedError(f"{name}: expected no file outside to change, some did")
        if "Traceback (most recent call last)" in written or "unexpected " in ended.stderr:
            last = ended.stderr.strip().splitlines()[-1:]
            raise NotSurvivedError(f"{name}: expected a message, seen {last}")
        if ended.code not in codes:
            last = ended.stderr.strip().splitlines()[-1:]
            seen = f"seen {ended.code} {last}"
            raise NotSurvivedError(f"{name}: expected exit code in {sorted(codes)}, {seen}")
        if not re.search(says, written, re.DOTALL):
            raise NotSurvivedError(f"{name}: expected '{says}', seen {ended.stderr[-200:]!r}")
        return ended

    def _foreign(self) -> dict[str, str]:
        """Return a digest of every file of the scene that is not in the project's folder."""
        files = (
            path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink()
        )
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if not path.is_relative_to(self.project)
        }

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Count the connections that come in while a command runs."""
        with socket.create_server(("127.0.0.1", self.port)) as server:
            server.settimeout(0.2)
            has_ended = threading.Event()

            def accept() -> None:
                while not has_ended.is_set():
                    with contextlib.suppress(OSError):
                        connection, _ = server.accept()
                        connection.close()
                        self.connections += 1

            thread = threading.Thread(target=accept)
            thread.start()
            try:
                yield
            finally:
                has_ended.set()
                thread.join()


class Attack(NamedTuple):
    """One kind of hostile file, in some variants."""

    what: str
    play: Callable[[Scene, int], None]
    """Plays a variant; raises NotSurvivedError."""
    variants: int = 1
    is_quick: bool = False
    """Whether no project has to have run."""


def link(path: Path, target: Path) -> None:
    """Leave a link, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent), target_is_directory=target.is_dir())

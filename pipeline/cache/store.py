"""The store: finished stages on disk, immutable, each whole or not there.

    .madpipe/
      layout.json                        number of this layout
      entries/<stage>/newest             name of the entry used last
      entries/<stage>/<key16>/           one finished stage: its files and entry.json
      work/<stage>/<key16>/              one unfinished stage: out/, checkpoint/, events.jsonl
      cache/<stage>/                     what only saves time, such as timings of kernels
      runs/<time>.json                   what each run did
      track/<command>.json               runs in trackers that have not ended
      digests.json                       digests of code and folders, to be spared next time
      lock                               held by the process that writes

An entry comes about by one rename of its finished folder and is checked when it is read.
"""

import contextlib
import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline import stored_files
from pipeline.atomic import (
    make_folders,
    naming,
    replace_folder,
    sync,
    write_bytes,
    write_lasting,
)
from pipeline.cache.entry import RECORD_FILE, Entry, EntryRecord, Lookup, damage_of, read_entry
from pipeline.errors import StoreError
from pipeline.texts import is_utf8

LAYOUT = 1
GITIGNORE = b"*\n"
_KEY_DIGITS = 16
_READ_ONLY = 0o444
_FOLDERS = ("entries", "work", "cache", "sweep")
"""In the working folder: those that have folders in them."""


class Store:
    """The working folder."""

    def __init__(self, home: Path) -> None:
        """Name the folder; nothing is read or written yet."""
        self.home = home
        self.digest_cache_path = home / "digests.json"
        self.lock_path = home / "lock"
        self.runs_path = home / "runs"

    def check_layout(self) -> None:
        """Make sure that the folder, where there is one, is of a layout known here.

        Raises:
            StoreError: It was written by a newer version, or its record is no record.
        """
        home = str(self.home)
        if self.home.exists() and not self.home.is_dir():
            raise StoreError(home, "is a file, not a folder", "name a folder with MADPIPE_HOME")
        with self.io_errors():
            try:
                content = stored_files.read_bytes(self.home / "layout.json")
            except FileNotFoundError:
                return
        try:
            layout = int(stored_files.loads(content)["layout"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            wrong = f"is not a layout record ({content[:40]!r})"
            remedy = "name another folder with MADPIPE_HOME, or remove this one"
            raise StoreError(str(self.home / "layout.json"), wrong, remedy) from error
        if layout > LAYOUT:
            wrong = f"was written by a newer madpipe (layout {layout}, this one knows {LAYOUT})"
            remedy = "update madpipe, or name another folder with MADPIPE_HOME"
            raise StoreError(home, wrong, remedy)

    def prepare(self) -> None:
        """Make the folder ready to be written to.

        Raises:
            StoreError: It cannot be written, is of a newer layout, has links in it, or is in a
                path that safetensors and ONNX Runtime do not open.
        """
        self.check_layout()
        if not is_utf8(str(self.home.absolute())):
            remedy = "rename it, or name another folder with MADPIPE_HOME"
            raise StoreError(str(self.home), "is in a path that is not UTF-8", remedy)
        with self.io_errors():
            self._check_links()
            make_folders(self.runs_path)
            layout = self.home / "layout.json"
            if not layout.exists():  # it comes last, so that neither is missing where one failed
                write_bytes(self.home / ".gitignore", GITIGNORE)
                write_bytes(layout, json.dumps({"layout": LAYOUT}).encode())

    def _check_links(self) -> None:
        """Raise StoreError for a link through which something outside would be written or removed.

        The folder itself may be one.
        """
        for folder in (self.home, *(self.home / name for name in _FOLDERS)):
            for path in folder.iterdir() if folder.is_dir() else ():
                check_no_link(path)

    def check_unfinished(self, stage: str, key: str) -> None:
        """Make sure that the folder of an unfinished stage, and all in it, are no links.

        Raises:
            StoreError: Something is, through which the stage would write elsewhere.
        """
        work = self.work_path(stage, key)
        for path in (work, *work.rglob("*")):
            check_no_link(path)

    @contextlib.contextmanager
    def io_errors(self) -> Iterator[None]:
        """Raise StoreError, which says what to do, in place of an OSError."""
        try:
            yield
        except OSError as error:
            raise self.failure(error) from error

    def failure(self, error: OSError) -> StoreError:
        """Return the error to raise for a failed read or write of the folder."""
        place = str(error.filename or self.home)
        wrong = f"cannot be read or written ({error.strerror or error})"
        is_missing = error.errno == errno.ENOENT
        remedy = "check the file" if is_missing else "free space or give write access"
        return StoreError(place, wrong, f"{remedy}, then repeat the command; nothing is lost")

    def entry_path(self, stage: str, key: str) -> Path:
        """Return where the entry of a key lies or would lie."""
        return self.home / "entries" / stage / key[:_KEY_DIGITS]

    def work_path(self, stage: str, key: str) -> Path:
        """Return where an unfinished stage keeps its files."""
        return self.home / "work" / stage / key[:_KEY_DIGITS]

    def has_unfinished(self, stage: str) -> bool:
        """Return whether a run of the stage, of whatever key, left a checkpoint to go on from."""
        return any((self.home / "work" / stage).glob("*/checkpoint/state"))

    def find(self, stage: str, key: str) -> Lookup:
        """Return the entry of a key after reading and checking every byte of it."""
        path = self.entry_path(stage, key)
        if not path.is_dir():
            return Lookup(None)
        entry, damage = read_entry(path)
        if entry is not None:
            is_other = (entry.record.stage, entry.record.key) != (stage, key)
            damage = "its record is of another stage or key" if is_other else damage_of(entry)
        return Lookup(None if damage else entry, damage)

    def read(self, stage: str, key: str) -> Entry | None:
        """Return the entry of a key, or None, without checking its files."""
        return read_entry(self.entry_path(stage, key)).entry

    def newest(self, stage: str) -> Entry | None:
        """Return the entry of a stage that was used last, without checking its files."""
        path = self.newest_path(stage)
        return read_entry(path).entry if path else None

    def newest_path(self, stage: str) -> Path | None:
        """Return the folder of the entry of a stage that was used last, which may be gone."""
        pointer = self._newest_pointer(stage)
        try:
            return pointer.with_name(Path(stored_files.read_bytes(pointer).decode().strip()).name)
        except (OSError, ValueError):
            return None

    def _newest_pointer(self, stage: str) -> Path:
        return self.home / "entries" / stage / "newest"

    def mark_newest(self, stage: str, key: str) -> None:
        """Remember which entry of a stage was used last."""
        pointer = self._newest_pointer(stage)
        name = key[:_KEY_DIGITS].encode()
        if not pointer.is_file() or pointer.read_bytes() != name:
            write_lasting(pointer, name)

    def commit(self, out: Path, record: EntryRecord, *, is_newest: bool = True) -> Entry:
        """Turn a finished folder into the entry of its key, in one rename.

        Where `is_newest` it becomes the one of its stage that was used last.

        Raises:
            OSError: The disk is full or read-only; there is no entry then.
        """
        for file in out.iterdir():
            if file.is_file():  # what a copy or a child process wrote may not be on the disk yet
                sync(file)
        for output in record.outputs.values():
            file = out / output.file
            file.chmod(file.stat().st_mode & _READ_ONLY)
        write_bytes(out / RECORD_FILE, record.encode())
        sync(out)
        path = self.entry_path(record.stage, record.key)
        make_folders(path.parent)
        aside = out.with_name("replaced")
        replace_folder(out, path, aside=aside)
        sync(path.parent)
        shutil.rmtree(aside, ignore_errors=True)  # else the stage's next run does it
        if is_newest:
            self.mark_newest(record.stage, record.key)
        return Entry(path, record)

    def entries(self) -> Iterator[tuple[Path, Lookup]]:
        """Yield every stored entry, or what is wrong with it, without checking its files."""
        for path in sorted((self.home / "entries").glob("*/*/")):
            yield path, read_entry(path)


def check_no_link(path: Path) -> None:
    """Make sure that a path of the store, which may be absent, is no link.

    Raises:
        StoreError: It is one.
    """
    if path.is_symlink():
        wrong = f"is a link, and madpipe makes none in its working folder ({path.readlink()})"
        raise StoreError(str(path), wrong, "remove it; MADPIPE_HOME names a folder elsewhere")


def remove_tree(path: Path) -> None:
    """Remove a folder of the store if it is there; of a link, the link alone.

    Raises:
        OSError: It cannot be removed, and is named: the system's error names a file within it.
    """
    with naming(path):
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)

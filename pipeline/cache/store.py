"""The store: finished stages on disk, immutable, each whole or not there.

    .madpipe/
      layout.json                        number of this layout
      entries/<stage>/newest             name of the entry used last
      entries/<stage>/<key16>/           one finished stage: its files and entry.json
      work/<stage>/<key16>/              one unfinished stage: out/, checkpoint/, events.jsonl
      cache/<stage>/                     what only saves time, such as timings of kernels
      runs/<time>.json                   what each run did
      memo.json                          digests of code and folders
      lock                               held by the process that writes

An entry comes about by one rename of its finished folder and is checked when it is read.
Knows nothing of what stages do.
"""

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipeline.atomic import sync_folder, write_bytes
from pipeline.cache import manifest as manifests
from pipeline.cache.keys import file_sha256
from pipeline.cache.manifest import Manifest
from pipeline.errors import StoreError

LAYOUT = 1
_KEY_DIGITS = 16
_READ_ONLY = 0o444


class Entry(NamedTuple):
    """A stored stage: its folder and its record."""

    path: Path
    manifest: Manifest

    def output(self, name: str) -> Path:
        """Return the path of an output."""
        return self.path / Path(self.manifest.outputs[name].file).name


class Lookup(NamedTuple):
    """The answer to `find`: an entry, or the damage that keeps it from being one, or neither."""

    entry: Entry | None
    damage: str | None = None


class Store:
    """The working folder."""

    def __init__(self, home: Path) -> None:
        """Name the folder; nothing is read or written yet."""
        self.home = home
        self.memo_path = home / "memo.json"
        self.lock_path = home / "lock"
        self.runs_path = home / "runs"

    def check_layout(self) -> None:
        """Make sure that the folder, where there is one, is of a layout known here.

        Raises:
            StoreError: It was written by a newer version, or its record is no record.
        """
        if self.home.exists() and not self.home.is_dir():
            raise StoreError(
                str(self.home), "is a file, not a folder", "name a folder with MADPIPE_HOME"
            )
        try:
            content = (self.home / "layout.json").read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self.failure(error) from error
        try:
            found = int(json.loads(content)["layout"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise StoreError(
                str(self.home / "layout.json"),
                f"is not a layout record ({content[:40]!r})",
                "name another folder with MADPIPE_HOME, or remove this one",
            ) from error
        if found > LAYOUT:
            raise StoreError(
                str(self.home),
                f"was written by a newer madpipe (layout {found}, this one knows {LAYOUT})",
                "update madpipe, or name another folder with MADPIPE_HOME",
            )

    def prepare(self) -> None:
        """Make the folder ready to be written to.

        Raises:
            StoreError: It cannot be written, or is of a newer layout.
        """
        self.check_layout()
        try:
            self.runs_path.mkdir(parents=True, exist_ok=True)
            layout = self.home / "layout.json"
            if not layout.exists():
                write_bytes(layout, json.dumps({"layout": LAYOUT}).encode())
                (self.home / ".gitignore").write_text("*\n", encoding="utf-8")
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

    def find(self, stage: str, key: str) -> Lookup:
        """Return the entry of a key after reading and checking every byte of it."""
        path = self.entry_path(stage, key)
        if not path.is_dir():
            return Lookup(None)
        lookup = _read(path)
        if lookup.entry is None:
            return lookup
        if (lookup.entry.manifest.stage, lookup.entry.manifest.key) != (stage, key):
            return Lookup(None, "its record is of another stage or key")
        damage = damage_of(lookup.entry)
        return Lookup(None, damage) if damage else lookup

    def read(self, stage: str, key: str) -> Entry | None:
        """Return the entry of a key without checking its files, None where there is none."""
        return _read(self.entry_path(stage, key)).entry

    def newest(self, stage: str) -> Entry | None:
        """Return the entry of a stage that was used last, without checking its files."""
        pointer = self.home / "entries" / stage / "newest"
        try:
            return _read(pointer.with_name(Path(pointer.read_text("utf-8").strip()).name)).entry
        except (OSError, ValueError):
            return None

    def mark_newest(self, stage: str, key: str) -> None:
        """Remember which entry of a stage was used last."""
        pointer = self.home / "entries" / stage / "newest"
        name = key[:_KEY_DIGITS]
        if not pointer.is_file() or pointer.read_bytes() != name.encode():
            write_bytes(pointer, name.encode())

    def commit(self, out: Path, manifest: Manifest) -> Entry:
        """Turn a finished folder into the entry of its key, in one rename.

        Raises:
            OSError: The disk is full or read-only; there is no entry then.
        """
        for record in manifest.outputs.values():
            (out / record.file).chmod(_READ_ONLY)
        write_bytes(out / manifests.FILE_NAME, manifests.encode(manifest))
        sync_folder(out)
        path = self.entry_path(manifest.stage, manifest.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        replaced = out.with_name("replaced")
        if path.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            path.rename(replaced)
        out.rename(path)
        sync_folder(path.parent)
        self.mark_newest(manifest.stage, manifest.key)
        return Entry(path, manifest)

    def entries(self) -> Iterator[tuple[Path, Lookup]]:
        """Yield every stored entry, or what is wrong with it, without checking its files."""
        for path in sorted((self.home / "entries").glob("*/*/")):
            yield path, _read(path)


def damage_of(entry: Entry) -> str | None:
    """Return what is wrong with the bytes of an entry, None where they are as recorded."""
    for record in entry.manifest.outputs.values():
        path = entry.path / Path(record.file).name
        if not path.is_file():
            return f"{record.file} is missing"
        if path.stat().st_size != record.bytes or file_sha256(path) != record.sha256:
            return f"{record.file} has other bytes than were stored"
    return None


def _read(path: Path) -> Lookup:
    try:
        return Lookup(Entry(path, manifests.decode((path / manifests.FILE_NAME).read_bytes())))
    except FileNotFoundError:
        return Lookup(None, "its record is missing")
    except (msgspec.DecodeError, ValueError, OSError) as error:
        return Lookup(None, f"its record cannot be read: {error}")


def remove_tree(path: Path) -> None:
    """Remove a folder of the store if it is there."""
    if path.exists():
        shutil.rmtree(path)

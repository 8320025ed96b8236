"""Entries of a cache at a URL: objects by their digests, and a record for each entry.

    URL/v1/objects/<sha256>               the bytes of an output
    URL/v1/entries/<stage>/<key>.json     the record of an entry, written after its objects
    URL/v1/parts/                         what is being written, where writing is not one step

What two machines push at once cannot mix: a record names its objects by their content, and the
one that is written last is the entry. A push that ends early leaves objects that nothing names.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from pipeline.cache.arrivals import LARGEST_RECORD_BYTES, checked_record, is_stage
from pipeline.cache.entry import RECORD_FILE, Entry, EntryRecord, OutputRecord
from pipeline.cache.keys import file_sha256
from pipeline.cache.lock import write_lock
from pipeline.cache.remote_files import Refused, RemoteFiles
from pipeline.cache.store import Store
from pipeline.cache.sync import sound_entries, take_in
from pipeline.cache.urls import READ_ONLY, CacheUrl
from pipeline.errors import BadEntry, StoreError, UsageError

_ENTRIES, _OBJECTS = "v1/entries", "v1/objects"
_RECORD_NAME = re.compile(rf"{_ENTRIES}/([^/]+)/([0-9a-f]{{64}})\.json")
_ANEW = "push it anew with --overwrite from a machine that has it, or remove it there"
_ENDING_S = 5.0
"""How long transfers are waited for that were told to end."""
_T = TypeVar("_T")
_R = TypeVar("_R")


class _Name(NamedTuple):
    """Which entry a record's name stands for."""

    stage: str
    key: str

    @property
    def record(self) -> str:
        return f"{_ENTRIES}/{self.stage}/{self.key}.json"


class UrlRemote:
    """A shared cache at a URL."""

    def __init__(self, url: CacheUrl, stop_asked: Callable[[], bool] = lambda: False) -> None:
        """Name the place; it is opened when it is first used."""
        self._files = RemoteFiles(url, stop_asked)
        self._url = url

    @property
    def name(self) -> str:
        """The URL without what is secret in it."""
        return self._url.name

    def check(self) -> None:
        """Make sure that the place is there, as far as that can be seen without a listing.

        Raises:
            RemoteError: It is not.
            UnavailableError: The package that opens it is not installed.
        """
        self._files.check()

    def fetch(self, store: Store, stage: str, key: str) -> Entry | None:
        """Bring the entry of a key into a store that this process holds; None where there is none.

        Raises:
            BadEntry: It is not what it says.
            Interrupted: A stop was asked for.
            RemoteError: The place cannot be used.
            StoreError: The store cannot be written.
            UnavailableError: The package that opens it is not installed.
        """
        return take_in(store, stage, key, lambda out: self._bring(_Name(stage, key), out))

    def pull(self, store: Store) -> int:
        """Bring every entry that a store lacks; return how many.

        Raises:
            BadEntry: Some are not what they say; all others have been brought.
            RemoteError: The place cannot be used; what has been brought is there.
            StoreError: The store cannot be written, or is held by another process.
            UnavailableError: The package that opens it is not installed.
        """
        copied, faults = 0, list[BadEntry]()
        self.check()
        self._files.check_listed(_ENTRIES)
        with write_lock(store, command="cache pull"):
            wanted = [
                name
                for name in _names(self._files.listing(_ENTRIES))
                if store.find(*name).entry is None
            ]

            def fetch(name: _Name) -> BadEntry | None:
                try:
                    self.fetch(store, *name)
                except BadEntry as fault:
                    return fault
                return None

            for fault in self._in_threads(fetch, wanted):
                copied += fault is None
                faults += [fault] if fault else []
        if faults:
            first, others = faults[0], len(faults) - 1
            wrong = first.wrong + (f", and {others} more of {len(wanted)}" if others else "")
            raise BadEntry(first.place, f"{wrong}; {copied} others came", first.remedy)
        return copied

    def push(self, store: Store, *, overwrite: bool = False) -> int:
        """Write every sound entry of a store that is not there yet; return how many.

        With `overwrite` also those that are.

        Raises:
            RemoteError: The place cannot be used; what has been written is whole.
            StoreError: An entry cannot be read.
            UnavailableError: The package that opens it is not installed.
            UsageError: It is for pulling alone.
        """
        self._check_writable()
        listing = {} if overwrite else self._files.listing(_ENTRIES, _OBJECTS)
        entries = sound_entries(store, lambda record: _name_of(record).record not in listing)
        return sum(1 for _ in self._in_threads(lambda entry: self._write(entry, listing), entries))

    def push_entry(self, entry: Entry) -> None:
        """Write one entry, also where there is one of its key.

        Raises:
            RemoteError: The place cannot be used.
            StoreError: The entry cannot be read.
            UnavailableError: The package that opens it is not installed.
            UsageError: It is for pulling alone.
        """
        self._check_writable()
        self._write(entry, {})

    def _check_writable(self) -> None:
        if self._url.scheme in READ_ONLY:
            wrong = f"is for pulling alone ({self._url.scheme})"
            raise UsageError(self.name, wrong, "push to where its server has its files from")

    def _write(self, entry: Entry, listing: dict[str, int | None]) -> None:
        """Write what `listing` lacks of an entry's objects, and then its record."""
        record = entry.record
        try:
            for name, output in record.outputs.items():
                target = f"{_OBJECTS}/{output.sha256}"
                if target not in listing or listing[target] != output.bytes:
                    self._files.upload(entry.output(name), target)
                    listing[target] = output.bytes
            self._files.upload(entry.path / RECORD_FILE, _name_of(record).record)
        except OSError as error:
            wrong = f"cannot be read ({error.strerror or error})"
            raise StoreError(str(entry.path), wrong, "repeat the command") from error

    def _bring(self, name: _Name, out: Path) -> EntryRecord | None:
        """Write the files of an entry into a folder and return its record; None: there is none."""
        path, place = out.with_name(RECORD_FILE), f"{self.name}/{name.record}"
        try:
            if not self._files.download(name.record, path, limit_bytes=LARGEST_RECORD_BYTES):
                return None
            record = checked_record(path.read_bytes(), *name)
        except (Refused, msgspec.DecodeError, ValueError) as error:
            raise BadEntry(place, f"is no sound record ({error})", _ANEW) from error
        for output in record.outputs.values():
            self._bring_object(output, out / output.file, place)
        return record

    def _bring_object(self, output: OutputRecord, path: Path, record: str) -> None:
        name = f"{_OBJECTS}/{output.sha256}"
        place = f"{self.name}/{name}"
        try:
            is_there = self._files.download(name, path, limit_bytes=output.bytes)
        except Refused as error:
            raise BadEntry(place, f"is not what its name says ({error})", _ANEW) from error
        if not is_there:
            raise BadEntry(place, f"is missing, and a record names it ({record})", _ANEW)
        if path.stat().st_size != output.bytes or file_sha256(path) != output.sha256:
            raise BadEntry(place, f"has other bytes than its name says ({output.file})", _ANEW)

    def _in_threads(self, call: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        """Yield what `call` returns for each item; after an error no more are begun.

        What is under way then goes on to its end. Ctrl-C tells it to end, which takes a moment;
        what does not end even so, since a server does not answer, ends with this process.
        """
        has_ended = threading.Event()
        workers = self._files.workers
        idle = threading.Semaphore(workers)

        def call_unless_ended(item: _T) -> _R:
            with idle:
                # A thread that fails goes on to its next item before the pool can be emptied.
                if has_ended.is_set():
                    raise CancelledError
                try:
                    return call(item)
                except BaseException:
                    has_ended.set()
                    raise

        # Not of an executor, whose threads keep a process from its end.
        pool = ThreadPool(workers)
        wait_s: float | None = _ENDING_S
        try:
            yield from pool.imap(call_unless_ended, items)
            wait_s = None
        except Exception:
            wait_s = None
            raise
        except BaseException:
            self._files.end()
            raise
        finally:
            has_ended.set()
            try:
                _wait_for_all(idle, workers, wait_s)
            finally:
                pool.terminate()


def _wait_for_all(idle: threading.Semaphore, workers: int, wait_s: float | None) -> None:
    """Wait until no worker is at something, or so many seconds; None: however long it takes."""
    end_s = None if wait_s is None else time.monotonic() + wait_s
    for _ in range(workers):
        idle.acquire(timeout=None if end_s is None else max(0.0, end_s - time.monotonic()))


def _name_of(record: EntryRecord) -> _Name:
    return _Name(record.stage, record.key)


def _names(listing: Iterable[str]) -> Iterator[_Name]:
    """Yield which entries the names of records in a listing stand for; other names do not count."""
    for text in sorted(listing):
        match = _RECORD_NAME.fullmatch(text)
        if match is not None and is_stage(match[1]):
            yield _Name(match[1], match[2])

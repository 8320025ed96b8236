"""Entries of a store that no stage made, quickly and in number."""

import hashlib
from pathlib import Path

from pipeline.cache.entry import RECORD_FILE, Entry, EntryRecord, OutputRecord
from pipeline.cache.keys import key_of
from pipeline.cache.store import Store


def record_of(seed: int, content: bytes, *, file: str = "out.bin", name: str = "") -> EntryRecord:
    """Return the record of an entry with one output; its key is that of its parts."""
    document = {"stage": "make", "settings": {"seed": seed}, "outputs": {"out": file}}
    digest = name or hashlib.sha256(content).hexdigest()
    return EntryRecord(
        stage="make",
        key=key_of(document),
        key_document=document,
        outputs={"out": OutputRecord(file=file, sha256=digest, bytes=len(content))},
        metrics={"top1": 0.985},
        seconds=1.0,
        resumed=False,
        created_utc="2026-01-01T00:00:00+00:00",
        madpipe="0",
        host={},
    )


def put(store: Store, seed: int = 0, content: bytes = b"weights") -> Entry:
    """Leave an entry in a store, without what makes its bytes durable."""
    record = record_of(seed, content)
    path = store.entry_path(record.stage, record.key)
    path.mkdir(parents=True)
    (path / "out.bin").write_bytes(content)
    (path / RECORD_FILE).write_bytes(record.encode())
    return Entry(path, record)


def content_of(store: Store, seed: int = 0) -> bytes | None:
    """Return what the entry of a seed left, None where there is no sound one."""
    entry = store.find("make", record_of(seed, b"").key).entry
    return entry.output("out").read_bytes() if entry else None


def files_below(folder: Path) -> list[str]:
    """Return the names of all files below a folder."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

"""Caches that machines share, in a folder and at a URL, whose entries lie."""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.reliability.broken_inputs import hostile, json_files, stored
from benchmarks.reliability.broken_inputs.harness import Broken, Format

_REMOTE = "remote"
_STAGES = ("teacher", "distill", "export", "build", "validate")
_NAMES = (
    *("../../../../../foreign/notes.txt", "/etc/madpipe_canary", "entry.json", "newest", "", "."),
    *("..", "a/b", "a\\b", "\0", "x\n", "CON", "student.onnx ", "é", "x" * 300, "../x"),
)


def _change(rng: random.Random, record: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Change the record of an entry; the digest of itself and mostly its key are right again."""
    kind = rng.randrange(4)
    outputs = record["outputs"]
    name = rng.choice([*outputs])
    if kind == 0:
        file = rng.choice(_NAMES)
        outputs[name]["file"] = file
        record["parts"]["outputs"][name] = file
        what = f"a file called {file[:30]!r}"
    elif kind == 1:
        outputs[name]["bytes"] = rng.choice([-1, 0, 10**18, 2**63, 1.5, "1", 10])
        what = f"{outputs[name]['bytes']} bytes"
    elif kind == 2:
        record["stage"] = rng.choice(["../x", "x" * 300, "", "nothing", "Teacher", "\0"])
        what = f"stage {record['stage'][:20]!r}"
    else:
        what, changed = json_files.changed(rng, record)
        record = changed if isinstance(changed, dict) else record
    if isinstance(record.get("parts"), dict) and rng.random() < 0.7:
        record = stored.rekeyed(record)
    return what, record


def _break_folder(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Pull from a working folder of somebody else."""
    stored.copy(folder / "other", shared)
    remote = folder / _REMOTE
    (folder / "other" / stored.HOME).rename(remote)
    shutil.rmtree(folder / "other")
    (folder / "pipeline.toml").write_text(stored.SETTINGS, encoding="utf-8")
    entry = stored.entry_of(remote, rng.choice(_STAGES))
    what = _strange(rng, entry, remote)
    if not what:
        what, record = _change(rng, json.loads((entry / "entry.json").read_bytes()))
        stored.replace(entry / "entry.json", stored.signed(record))
        if rng.random() < 0.5 and isinstance(key := record.get("key"), str) and key.isalnum():
            entry.rename(entry.with_name(key[:16]))
    return Broken(f"folder: {what}", ["cache", "pull", _REMOTE])


def _strange(rng: random.Random, entry: Path, remote: Path) -> str:
    """Put something else in the place of a file; return what, or nothing."""
    if rng.random() < 0.5:
        return ""
    path = rng.choice([*entry.iterdir(), remote / "layout.json"])
    what = rng.choice([*_OTHER])
    path.unlink()
    _OTHER[what](path)
    return f"{what} for {path.name}"


_OTHER: dict[str, Callable[[Path], object]] = {
    "a link to another's file": lambda path: path.symlink_to("../../../../../foreign/notes.txt"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link without end": lambda path: path.symlink_to("/dev/zero"),
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "nothing": lambda _path: None,
    "noise": lambda path: path.write_bytes(b"\xff\x00noise"),
    "a large file": lambda path: path.write_bytes(bytes(50_000_000)),
}


def _break_url(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Pull from the files of a cache at a URL."""
    home = shared.with_name(stored.FOLDER) / stored.HOME
    (folder / "pipeline.toml").write_text(stored.SETTINGS, encoding="utf-8")
    objects = folder / _REMOTE / "v1" / "objects"
    objects.mkdir(parents=True)
    victim = rng.choice(_STAGES)
    what = ""
    for stage in _STAGES:
        entry = stored.entry_of(home, stage)
        record = json.loads((entry / "entry.json").read_bytes())
        for output in record["outputs"].values():
            content = (entry / output["file"]).read_bytes()
            (objects / hashlib.sha256(content).hexdigest()).write_bytes(content)
        content = (entry / "entry.json").read_bytes()
        if stage == victim:
            what, content = _broken_record(rng, record, content)
        key = _key_in(content, record["key"])
        path = objects.with_name("entries") / stage / f"{key}.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    if rng.random() < 0.3:
        path = rng.choice([*objects.iterdir()])
        kind = rng.choice([*_OTHER])
        path.unlink()
        _OTHER[kind](path)
        what += f", {kind} for an object"
    return Broken(f"URL: {what}", ["cache", "pull", f"file://{folder / _REMOTE}"])


def _broken_record(rng: random.Random, record: dict[str, Any], content: bytes) -> tuple[str, bytes]:
    if rng.random() < 0.3:
        return json_files.broken(rng, content)
    what, changed = _change(rng, record)
    return what, stored.signed(changed)


def _key_in(content: bytes, key: str) -> str:
    """Return the key of a record that may be broken, so that its name is right."""
    try:
        inner = json.loads(content)["key"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return key
    is_name = isinstance(inner, str) and len(inner) == len(key) and inner.isalnum()
    return inner if is_name else key


def _break_place(rng: random.Random, folder: Path, _shared: Path) -> Broken:
    """Name a place that is none."""
    text = hostile.argument(rng)
    if text in ("/", "//", "..", "~", "../foreign") or text.startswith(("hf:a", "/proc", "--")):
        text = f"x{text}"
    if rng.random() < 0.5:
        text = f"{rng.choice(_SCHEMES)}{text}"
    words = [rng.choice(["pull", "push"]), text]
    (folder / "pipeline.toml").write_text("", encoding="utf-8")
    if rng.random() < 0.3 and text.isprintable():
        (folder / "pipeline.toml").write_text(f"[cache]\nremote = {json.dumps(text)}\n")
        words = words[:1]
    return Broken(f"cache {words[0]} {text[:60]!r}", ["cache", *words], (text[:200],))


_SCHEMES = (
    "file://",
    "file:",
    "FILE:///",
    "memory:/",
    "zip:",
    "local://",
    "data:,",
    "x://",
    "s3:/",
)

FOLDERS = Format("cache-folders", stored.prepare, _break_folder)
URLS = Format("cache-urls", stored.prepare, _break_url)
PLACES = Format("cache-places", lambda _shared: None, _break_place)

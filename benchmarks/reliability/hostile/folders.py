"""Working folders and shared caches of others: links, records and names that lead elsewhere."""

import contextlib
import hashlib
import http.server
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from benchmarks.reliability import small_project
from benchmarks.reliability.hostile.scene import ANY_END, READING, Attack, Scene, link
from pipeline.cache.entry import EntryRecord, OutputRecord
from pipeline.cache.keys import key_of

_PLACES = ("entries", "entries/teacher", "work", "work/teacher", "cache", "sweep", "runs")
_FILES = (".gitignore", "layout.json", "lock", "lock.json", "digests.json", "rates.json")
_OUTPUTS = (
    "../../outside/a/notes.txt",
    "/tmp/madpipe-canary",  # noqa: S108  (the name of an output)
    "..",
    "entry.json",
    "a/b",
    "..\\x",
    "",
    "x\n",
)


def _collect(scene: Scene, variant: int) -> None:
    """Put a link in the place of a folder, and remove all that can be removed."""
    small_project.write(scene.project)
    link(scene.project / ".madpipe" / _PLACES[variant], scene.outside)
    for command in (*READING, ("cache", "gc", "--keep", "1", "--unfinished")):
        scene.attempt(*command, codes=ANY_END)


def _run(scene: Scene, variant: int) -> None:
    """Put a link in the place of a folder or file, and run."""
    home = scene.finished()
    name = (*_PLACES, *_FILES)[variant]
    path = home / name
    target = scene.outside / "moved"
    if path.is_dir():
        shutil.move(path, target)
    else:
        path.unlink(missing_ok=True)
        target = scene.outside / "a/notes.txt"
        if name in ("layout.json", "digests.json", "rates.json"):
            target.write_text('{"layout": 1}', encoding="utf-8")
    link(path, target)
    scene.attempt("run", "teacher", "--set", "seed=3", codes=frozenset({1}), says="is a link")


def _entry(scene: Scene, variant: int) -> None:
    """Put links in the place of an entry, of its files, and of an unfinished stage."""
    home = scene.finished()
    (entry,) = (path for path in (home / "entries/teacher").iterdir() if path.is_dir())
    if variant == 0:
        shutil.rmtree(entry)
        link(entry, scene.outside)
    elif variant == 1:
        (entry / "teacher.safetensors").unlink()
        link(entry / "teacher.safetensors", scene.outside / "a/notes.txt")
    elif variant == 2:
        link(home / "work/teacher" / entry.name, scene.outside)
    else:
        for name in ("newest", "newest.part"):
            (entry.parent / name).unlink(missing_ok=True)
            link(entry.parent / name, scene.outside / "a/notes.txt")
    for command in (("run", "teacher"), ("cache", "gc", "--keep", "1", "--unfinished")):
        scene.attempt(*command, codes=ANY_END)


def forged(file: str, content: bytes, *, stage: str = "teacher") -> EntryRecord:
    """Return a record that agrees with itself, of an output that is called `file`."""
    document = {"stage": stage, "settings": {}, "outputs": {"weights": file}}
    digest = hashlib.sha256(content).hexdigest()
    return EntryRecord(
        stage=stage,
        key=key_of(document),
        key_document=document,
        outputs={"weights": OutputRecord(file=file, sha256=digest, bytes=len(content))},
        metrics={},
        seconds=1.0,
        resumed=False,
        created_utc="2026-01-01T00:00:00+00:00",
        madpipe="0",
        host={},
    )


def _in_cache(place: Path, record: EntryRecord, content: bytes) -> Path:
    """Leave an entry as a push by URL does; return the file of its object."""
    path = place / "v1/entries" / record.stage / f"{record.key}.json"
    (output,) = record.outputs.values()
    thing = place / "v1/objects" / output.sha256
    for file in (path, thing):
        file.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(record.encode())
    thing.write_bytes(content)
    return thing


def _pull_names(scene: Scene, variant: int) -> None:
    """Pull an entry whose output leads out of its folder, by a folder and by a URL."""
    small_project.write(scene.project)
    record = forged(_OUTPUTS[variant], b"x")
    cache = scene.project / "cache"
    _in_cache(cache, record, b"x")
    scene.attempt("cache", "pull", cache.as_uri())
    folder = scene.project / "folder"
    entry = folder / "entries/teacher" / record.key[:16]
    entry.mkdir(parents=True)
    (folder / "layout.json").write_text('{"layout": 1}', encoding="utf-8")
    (entry / "entry.json").write_bytes(record.encode())
    scene.attempt("cache", "pull", str(folder), codes=ANY_END)


def _pull_links(scene: Scene, variant: int) -> None:
    """Pull from caches with links, pipes, devices and records without end in them."""
    small_project.write(scene.project)
    secret = scene.outside / "a/notes.txt"
    content = secret.read_bytes()
    record = forged("teacher.safetensors", content)
    cache = scene.project / "cache"
    thing = _in_cache(cache, record, content)
    entry = next((cache / "v1/entries/teacher").iterdir())
    thing.unlink()
    if variant == 0:
        link(thing, secret)
    elif variant == 1:
        os.mkfifo(thing)
    elif variant == 2:
        thing.symlink_to("/dev/zero")
    elif variant == 3:
        thing.write_bytes(content)
        entry.unlink()
        link(entry, scene.outside / "a/notes.txt")
    elif variant == 4:
        thing.write_bytes(content * 100)
    elif variant == 5:
        thing.write_bytes(content)
        entry.write_bytes(b"[" * 2**20)
    else:
        thing.write_bytes(content)
        entry.write_bytes(b'{"a": "' + b"x" * 2**24)
    is_absent = variant in {0, 3}  # links of a cache do not count
    codes = ANY_END if is_absent else frozenset({1})
    scene.attempt("cache", "pull", cache.as_uri(), codes=codes)
    home = scene.project / ".madpipe"
    assert not list(home.glob("entries/*/*/teacher.safetensors"))


@contextlib.contextmanager
def _served(answer: Callable[[str], bytes]) -> Iterator[str]:
    """Serve what `answer` returns for a path; yield the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = answer(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


_LISTED = (
    "../../../outside/a/notes.txt",
    "/etc/passwd",
    "%2e%2e/%2e%2e/x.json",
    "teacher/../../../x.json",
    "..",
    "file:///etc/passwd",
    "http://127.0.0.1:1/x.json",
    "teacher%00/x.json",
)


def _pull_listing(scene: Scene, variant: int) -> None:
    """Pull from a server whose lists name what lies elsewhere."""
    small_project.write(scene.project)
    name = _LISTED[variant]
    record = forged("../../x", b"x")

    def answer(path: str) -> bytes:
        if path.endswith(("/entries/", "/entries")):
            return f'<a href="{name}">x</a><a href="teacher/">teacher/</a>'.encode()
        if path.rstrip("/").endswith("teacher"):
            return f'<a href="{name}">x</a><a href="{record.key}.json">x</a>'.encode()
        return record.encode() if path.endswith(f"{record.key}.json") else b""

    with _served(answer) as url:
        scene.attempt("cache", "pull", url, codes=ANY_END)
    names = {path.name for path in (scene.project / ".madpipe/entries").rglob("*")}
    assert not names, names


def _push_overwrites(scene: Scene, variant: int) -> None:
    """Push to a folder in which links wait where entries will be written."""
    scene.finished()
    target = scene.project / "shared"
    place = ("entries", "entries/teacher", "work", "v1/objects")[variant]
    link(target / place, scene.outside)
    (target / "layout.json").write_text('{"layout": 1}', encoding="utf-8")
    scene.attempt("cache", "push", str(target), codes=ANY_END)


_RECORDS = (
    {"stage": "../../outside"},
    {"stage": "teacher\x1b[2J"},
    {"outputs": {"weights": {"file": "../../../../outside/a/notes.txt"}}},
    {"metrics": {"<img src=x>": "[red]\x1b]52;c;eA==\x07"}},
    {"created_utc": "\x1b[2J", "host": {"cpu": "\r::error::x"}},
)


def _records(scene: Scene, variant: int) -> None:
    """Change fields of the records of stored stages, whose own digests are made to agree."""
    home = scene.finished()
    for path in home.glob("entries/*/*/entry.json"):
        fields = msgspec.to_builtins(EntryRecord.decode(path.read_bytes()))
        changes = _RECORDS[variant]
        for name, value in changes.items():
            if name == "outputs":
                for output in fields["outputs"].values():
                    output["file"] = f"../../../../outside/a/{Path(output['file']).name}"
            else:
                fields[name] = value
        path.chmod(0o644)
        path.write_bytes(msgspec.convert(fields, EntryRecord).encode())
    for command in (*READING, ("cache", "gc", "--keep", "1"), ("cache", "push", "pushed")):
        ended = scene.attempt(*command, codes=ANY_END)
        assert "\x1b" not in ended.stdout + ended.stderr, command


def _layouts(scene: Scene, variant: int) -> None:
    """Replace small records by JSON of another shape."""
    home = scene.finished()
    values: tuple[object, ...] = ([], {}, "x", 10**400, {"layout": 1e308}, {"a": [[[]]]})
    content = json.dumps(values[variant]).encode()
    for name in ("digests.json", "rates.json", "layout.json", "lock.json"):
        (home / name).write_bytes(content)
    for command in READING:
        scene.attempt(*command, codes=ANY_END)


ATTACKS = (
    Attack("a link in a working folder, and gc", _collect, len(_PLACES), is_quick=True),
    Attack("a link in a working folder, and a run", _run, len(_PLACES) + len(_FILES)),
    Attack("an entry of links", _entry, 4),
    Attack(
        "an output's name that leads elsewhere, pulled", _pull_names, len(_OUTPUTS), is_quick=True
    ),
    Attack("links and endless files in a cache, pulled", _pull_links, 7, is_quick=True),
    Attack(
        "a server's list that leads elsewhere, pulled", _pull_listing, len(_LISTED), is_quick=True
    ),
    Attack("links where a push writes", _push_overwrites, 4),
    Attack("records of stored stages with hostile fields", _records, len(_RECORDS)),
    Attack("small records of another shape", _layouts, 6),
)

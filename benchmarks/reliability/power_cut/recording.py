"""Recording what a real process does to the files below a folder, by strace."""

import codecs
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.reliability.power_cut.operations import (
    Named,
    Operation,
    Renamed,
    Resized,
    Synced,
    Tree,
    Unnamed,
    Written,
    change,
)

_CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,ftruncate,truncate,fallocate,"
    "fsync,fdatasync,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,"
    "mkdir,mkdirat,rmdir,copy_file_range,sendfile"
)
_NOT_FOLLOWED = {"fallocate", "pwritev", "pwritev2", "copy_file_range", "link", "linkat"}
_NOT_FOLLOWED |= {"symlink", "symlinkat", "truncate", "creat"}
_LINE = re.compile(rb"(\d+) +(.*)", re.DOTALL)
_UNFINISHED = b" <unfinished ...>"
_RESUMED = re.compile(rb"<\.\.\. \w+ resumed>(.*)", re.DOTALL)
_CALL = re.compile(rb"(\w+)\((.*)\) += (\d+)(?:<(.*)>)?$", re.DOTALL)
_FILE = re.compile(rb"(\d+|AT_FDCWD)<([^>]*)>")
_TEXT = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)


def record(
    command: Sequence[str], folder: Path, trace: Path, variables: Mapping[str, str]
) -> list[Operation]:
    """Run a command in a folder and return what it and its children did below it.

    Raises:
        AssertionError: The command failed, or what is there in the end is not what the operations
            make: a call is not followed, or a file was written by way of memory.
    """
    strace = ["strace", "-f", "-y", "--seccomp-bpf", "-s", "100000000", "-o", str(trace)]
    strace += ["-e", f"trace={_CALLS}", "-e", "signal=none"]
    before = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    subprocess.run([*strace, *command], cwd=folder, env=dict(variables), check=True)
    reader = Reader(folder)
    with trace.open("rb") as lines:
        for line in lines:
            reader.read(line)
    present = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    present = {name: path for name, path in present.items() if name not in before}
    followed = reader.files()
    assert followed.keys() == present.keys(), (
        f"not followed: {sorted(followed.keys() ^ present.keys())}"
    )
    for name, content in followed.items():
        is_same = content is None or content == present[name].read_bytes()
        assert is_same, f"{name} has other bytes than were written to it"
    return reader.operations


class Reader:
    """Makes operations of the lines of strace."""

    def __init__(self, folder: Path) -> None:
        """Follow what happens below a folder."""
        self.operations: list[Operation] = []
        self._root = str(folder.resolve())
        self._tree = Tree()
        self._contents: dict[int, bytearray] = {}
        self._offsets: dict[tuple[int, int], int] = {}
        self._appends: dict[tuple[int, int], bool] = {}
        self._begun: dict[bytes, bytes] = {}
        self._nodes = 0

    def read(self, line: bytes) -> None:
        """Read one line; calls that failed, and what is elsewhere, leave nothing."""
        process, text = _groups(_LINE, line.rstrip(b"\n"))
        if text.endswith(_UNFINISHED):
            self._begun[process] = text.removesuffix(_UNFINISHED)
            return
        if resumed := _RESUMED.fullmatch(text):
            text = self._begun.pop(process, b"") + resumed[1]
        if self._root.encode() not in text or not (call := _CALL.fullmatch(text)):
            return
        name, arguments = call[1].decode(), call[2]
        assert name not in _NOT_FOLLOWED, f"{name} is not followed"
        opened = (call[4] or b"").decode()
        if name in ("open", "openat"):
            self._open(arguments, int(call[3]), opened)
        elif name in ("write", "pwrite64", "writev", "sendfile", "lseek", "ftruncate"):
            self._change(name, arguments, int(call[3]))
        elif name in ("fsync", "fdatasync"):
            node = self._node(_files(arguments)[0][1])
            if node is not None:
                self._add(Synced(node))
        else:
            self._rename(name, arguments)

    def files(self) -> dict[str, bytes | None]:
        """Return the bytes of all files by their paths; None for folders."""
        return {
            path: None if node in self._tree.folders else bytes(self._contents.get(node, b""))
            for path, node in self._tree.paths().items()
        }

    def _add(self, operation: Operation) -> None:
        self.operations.append(operation)
        if isinstance(operation, Named | Unnamed | Renamed):
            self._tree.apply(operation)
        elif isinstance(operation, Written | Resized):
            change(self._contents.setdefault(operation.node, bytearray()), operation)

    def _open(self, arguments: bytes, number: int, path: str) -> None:
        inner = self._inner(path)
        if inner is None:
            return
        node = self._node(path)
        if node is None:
            if b"O_CREAT" not in arguments:
                return  # of what was there before
            node = self._new(inner, is_folder=False)
        elif b"O_TRUNC" in arguments and self._contents.get(node):
            self._add(Resized(node, 0))
        self._offsets[node, number] = 0
        self._appends[node, number] = b"O_APPEND" in arguments

    def _change(self, name: str, arguments: bytes, result: int) -> None:
        (number, path), *others = _files(arguments)
        node = self._node(path)
        if node is None:
            return
        place = node, number
        if name == "lseek":
            self._offsets[place] = result
            return
        if name == "ftruncate":
            self._add(Resized(node, int(arguments.rpartition(b",")[2])))
            return
        if name == "sendfile":
            source = self._node(others[0][1])
            assert source is not None, "bytes were copied from elsewhere"
            begin = int(re.findall(rb"\[(\d+)\]", arguments)[0])
            content = bytes(self._contents[source][begin : begin + result])
        else:
            content = b"".join(map(_unescaped, _TEXT.findall(arguments)))[:result]
        if name == "pwrite64":
            self._add(Written(node, int(arguments.rpartition(b",")[2]), content))
            return
        is_append = self._appends.get(place, False)
        offset = len(self._contents.get(node, b"")) if is_append else self._offsets.get(place, 0)
        self._add(Written(node, offset, content))
        self._offsets[place] = offset + result

    def _rename(self, name: str, arguments: bytes) -> None:
        paths = [self._inner(path) for path in _paths(arguments)]
        first = paths[0]
        if name.startswith("mkdir"):
            if first is not None:
                self._new(first, is_folder=True)
            return
        node = self._tree.find(first) if first is not None else None
        if first is None or node is None:
            assert len(paths) == 1 or paths[1] is None, "a file came from elsewhere"
            return
        folder, last = self._place(first)
        if name.startswith("rename"):
            assert paths[1] is not None, "a file went elsewhere"
            self._add(Renamed(folder, last, *self._place(paths[1]), node))
        else:
            self._add(Unnamed(folder, last, node))

    def _new(self, inner: str, *, is_folder: bool) -> int:
        self._nodes += 1
        self._add(Named(*self._place(inner), self._nodes, is_folder))
        return self._nodes

    def _place(self, inner: str) -> tuple[int, str]:
        above, _, name = inner.rpartition("/")
        folder = self._tree.find(above)
        assert folder is not None, f"{above} was not made"
        return folder, name

    def _node(self, path: str) -> int | None:
        inner = self._inner(path)
        return self._tree.find(inner) if inner is not None else None

    def _inner(self, path: str) -> str | None:
        begin = f"{self._root}/"
        if path == self._root:
            return ""
        return path.removeprefix(begin) if path.startswith(begin) else None


def _files(arguments: bytes) -> list[tuple[int, str]]:
    """Return number and path of the open files that a call got."""
    pairs = _FILE.findall(_TEXT.sub(b"", arguments))
    return [(-1 if n == b"AT_FDCWD" else int(n), path.decode()) for n, path in pairs]


def _paths(arguments: bytes) -> Iterator[str]:
    """Yield the paths that a call got, each from the folder that it counts from."""
    for match in re.finditer(rb'(?:<([^>]*)>, )?"((?:[^"\\]|\\.)*)"', arguments, re.DOTALL):
        folder, text = (match[1] or b"").decode(), _unescaped(match[2]).decode()
        yield text if text.startswith("/") else f"{folder}/{text}"


def _unescaped(text: bytes) -> bytes:
    return codecs.escape_decode(text)[0]


def _groups(pattern: re.Pattern[bytes], line: bytes) -> tuple[bytes, bytes]:
    match = pattern.fullmatch(line)
    assert match is not None, f"not a line of strace: {line[:80]!r}"
    return match[1], match[2]

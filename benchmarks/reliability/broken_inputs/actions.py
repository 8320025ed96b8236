"""What a madpipe process does beside its work, told by Python's audit events.

Only what no input may bring about is noted: writes outside of the folders that were named, code out
of an input, foreign processes, connections to other machines, reads of files that are none of the
project's.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

CANARY = "madpipe_canary"
"""In every piece of code that an input brings, so that it is known when it runs."""
READ_ANOTHERS = "read another's file"
"""Begins what is noted of a file outside; a command line that names its folder allows it."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
    "shutil.rmtree": (0,),
}
"""Events that change a file or folder, and which of their arguments name it."""
_ALWAYS = {"os.system", "os.exec", "os.fork", "os.forkpty", "os.startfile", "pty.spawn"}
_HARMFUL_MODULES = {
    *("builtins", "ctypes", "importlib", "nt", "os", "posix", "pty", "runpy", "shutil", "socket"),
    *("subprocess", "sys", "webbrowser"),
}
"""From which a pickle has no business to take anything."""
_HARMLESS = {"builtins": {"complex", "frozenset", "set", "slice", "range", "bytearray"}}
_PROGRAMS = {"gcc", "cc", "git", "ld", "ldconfig", "lscpu", "nvidia-smi", "objdump", "uname"}
"""What Python's own library and madpipe ask about the machine."""
_LOOPBACK = ("127.", "localhost", "::1")


class Folders(NamedTuple):
    """Folders of a case."""

    project: str
    """Where the command runs, which holds the broken input."""
    foreign: str
    """Another's files, which are neither read nor written."""
    writable: tuple[str, ...]
    """The files and folders that may be written."""


def install(folders: Folders, note: Callable[[str], None]) -> None:
    """Call `note` from now on for what no input may bring about; this cannot be undone."""
    sys.addaudithook(Observer(folders, note))


class Observer:
    """Judges audit events, none while it judges one."""

    def __init__(self, folders: Folders, note: Callable[[str], None]) -> None:
        """Call `note` with what is wrong."""
        self._folders = folders
        self._note = note
        self._is_judging = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Judge one event."""
        if self._is_judging:
            return
        self._is_judging = True
        try:
            if wrong := self._judge(event, arguments):
                self._note(wrong)
        finally:
            self._is_judging = False

    def _judge(self, event: str, arguments: tuple[Any, ...]) -> str:
        """Return what is wrong about an event, or nothing."""
        if event == "open":
            return self._judge_open(*arguments)
        if event in _CHANGES:
            places = [arguments[index] for index in _CHANGES[event]]
            return self._judge_changes(event, [place for place in places if _is_path(place)])
        if event == "exec":
            return self._judge_code(arguments[0])
        if event == "pickle.find_class":
            module, name = arguments
            is_wrong = module in _HARMFUL_MODULES and name not in _HARMLESS.get(module, ())
            return f"a pickle took {module}.{name}" if is_wrong else ""
        return self._judge_process(event, arguments)

    def _judge_open(self, path: Any, _mode: Any, flags: Any) -> str:
        if not _is_path(path):
            return ""
        if isinstance(flags, int) and flags & _WRITES:
            return self._judge_changes("open", [path])
        if _is_within(_resolved(path), (self._folders.foreign,)):
            return f"{READ_ANOTHERS} {os.fsdecode(path)}"
        return ""

    def _judge_changes(self, event: str, places: Sequence[Any]) -> str:
        for place in places:
            path = _resolved(place, follow=event == "open")
            if not _is_within(path, self._folders.writable) and not _is_device(path):
                return f"{event} outside of the folders named: {path}"
        return ""

    def _judge_code(self, code: Any) -> str:
        if not isinstance(code, CodeType):
            return ""
        is_of_input = _is_within(code.co_filename, (self._folders.project,))
        text = " ".join([*code.co_names, *map(str, code.co_consts)])
        if not is_of_input and CANARY not in text:
            return ""
        return f"ran code out of the input ({code.co_filename})"

    def _judge_process(self, event: str, arguments: tuple[Any, ...]) -> str:
        if event in _ALWAYS:
            return f"{event} {arguments}"
        if event in ("subprocess.Popen", "os.posix_spawn"):
            name = os.fsdecode(arguments[0] or arguments[1][0])
            is_known = name == sys.executable or Path(name).name in _PROGRAMS
            return "" if is_known else f"started {name}"
        if event == "socket.connect":
            address = arguments[1]
            host = str(address[0]) if isinstance(address, tuple) else "127."
            return "" if host.startswith(_LOOPBACK) else f"connected to {host}"
        if event == "ctypes.dlopen" and _is_path(arguments[0]):
            name = os.fsdecode(arguments[0])
            path = os.path.abspath(name)  # noqa: PTH100
            # A name without a folder is looked for where the system's libraries are.
            folders = (self._folders.project, self._folders.foreign)
            is_ours = os.sep in name and _is_within(path, folders)
            return f"loaded the library {path}" if is_ours else ""
        return ""


def _is_path(value: Any) -> bool:
    return isinstance(value, str | bytes | os.PathLike)


def _resolved(path: Any, *, follow: bool = True) -> str:
    """Return where a change would take place; a link that is itself changed is not followed."""
    text = os.fsdecode(path)
    if follow:
        return os.path.realpath(text)
    head, tail = os.path.split(text.rstrip("/") or "/")
    return os.path.join(os.path.realpath(head), tail)  # noqa: PTH118


def _is_within(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def _is_device(path: str) -> bool:
    return path.startswith(("/dev/", "/proc/", "/sys/")) or ":[" in path

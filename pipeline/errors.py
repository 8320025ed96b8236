"""Every error that madpipe raises on purpose, with its exit code, and what their messages share.

Gates that fail or cannot decide are results, not errors: see `pipeline.gates.judge`.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from pipeline import exit_codes
from pipeline.texts import printable


class MadpipeError(Exception):
    """An error with a place, what is wrong there, and what to do about it.

    It can be pickled, so one that is raised in another process arrives as it was; for that `args`
    holds the arguments of its class.
    """

    exit_code: ClassVar[int] = exit_codes.FAILED

    def __init__(self, place: str, wrong: str, remedy: str) -> None:
        """Read as `place: wrong; remedy`; `wrong` carries the value seen in parentheses."""
        super().__init__(place, wrong, remedy)
        self.place = printable(place)
        self.wrong = printable(wrong)
        self.remedy = printable(remedy)

    def __str__(self) -> str:
        """Return the three parts as one line."""
        return f"{self.place}: {self.wrong}; {self.remedy}"


class UsageError(MadpipeError):
    """The command line asks for something that does not exist or does not fit."""

    exit_code = exit_codes.WRONG_USAGE


class ConfigError(MadpipeError):
    """The settings are wrong; holds every fault, a line each."""

    exit_code = exit_codes.WRONG_USAGE

    def __init__(self, faults: Sequence[str]) -> None:
        """Take one finished line for each fault, `file:line: key: what (value); what to do`."""
        super().__init__("settings", f"are wrong ({len(faults)} faults)", "correct each")
        self.faults = tuple(map(printable, faults))
        self.args = (self.faults,)

    def __str__(self) -> str:
        """Return all faults, a line each."""
        return "\n".join(self.faults)


class SettingsFault(MadpipeError):
    """Settings that are right by themselves but name what does not exist."""

    exit_code = exit_codes.WRONG_USAGE

    def __init__(self, faults: Sequence[tuple[tuple[str, ...], str, str]]) -> None:
        """Take for each fault its key path, what is wrong, and what to do."""
        super().__init__("settings", f"name what is not there ({len(faults)} faults)", "see each")
        self.faults = tuple(
            (key, printable(wrong), printable(remedy)) for key, wrong, remedy in faults
        )
        self.args = (self.faults,)

    def __str__(self) -> str:
        """Return all faults, a line each."""
        lines = (f"{'.'.join(key)}: {wrong}; {remedy}" for key, wrong, remedy in self.faults)
        return "\n".join(lines)


class StageError(MadpipeError):
    """A stage found its input or its own result wanting."""


class UndeclaredAccess(StageError):
    """A stage asked for a setting, input or file that its declaration does not name."""


class StoreError(MadpipeError):
    """The working folder cannot be read or written."""


class LockedError(StoreError):
    """Another process holds the working folder."""


class RemoteError(StoreError):
    """A cache that machines share cannot be used, or an entry of it is not what it should be."""


class BadEntry(RemoteError):
    """An entry of a cache that machines share is not what it says."""


class UnavailableError(MadpipeError):
    """The machine lacks what was asked for by name."""

    exit_code = exit_codes.UNAVAILABLE


class Interrupted(MadpipeError):
    """Stopped by a signal; the same command resumes."""

    exit_code = exit_codes.INTERRUPTED


def first_line(error: BaseException) -> str:
    """Return the first line of a foreign exception's message, or its class where it has none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def error_summary(error: BaseException) -> str:
    """Return a foreign exception as `Class: first line of its message`, in one line."""
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` for the known name nearest to `name`, or an empty string."""
    import difflib  # noqa: PLC0415  (only a mistake pays for its import)

    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean '{matches[0]}'?" if matches else ""

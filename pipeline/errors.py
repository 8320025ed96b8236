"""Every error that madpipe raises on purpose, with its exit code.

    MadpipeError            1   something failed
    +-- UsageError          2   the command line is wrong
    +-- ConfigError         2   the settings are wrong: all faults at once
    +-- SettingsFault       2   settings that do not fit what they name; gets its lines later
    +-- StageError          1   a stage found its input or its result wanting
    |   +-- UndeclaredAccess    a stage asked for what its declaration does not name
    +-- StoreError          1   the working folder cannot be read or written
    |   +-- LockedError         another process holds the working folder
    +-- UnavailableError    5   the machine lacks what was asked for by name
    +-- Interrupted       130   stopped by a signal; the same command resumes

Gates that fail or cannot decide are results, not errors: see `pipeline.gates.judge`.
Knows nothing of the screen: only `pipeline.cli.main` prints and exits.
"""

from collections.abc import Sequence
from typing import ClassVar


class MadpipeError(Exception):
    """An error with a place, what is wrong there, and what to do about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, place: str, wrong: str, remedy: str) -> None:
        """Say `place: wrong; remedy`; `wrong` carries the value seen in parentheses."""
        super().__init__(f"{place}: {wrong}; {remedy}")


class UsageError(MadpipeError):
    """The command line asks for something that does not exist or does not fit."""

    exit_code = 2


class ConfigError(MadpipeError):
    """The settings are wrong; holds every fault that was found."""

    exit_code = 2

    def __init__(self, faults: Sequence[str]) -> None:
        """Take one finished line for each fault, `file:line: key: what (value); what to do`."""
        Exception.__init__(self, "\n".join(faults))
        self.faults = tuple(faults)


class SettingsFault(MadpipeError):
    """Settings that are right by themselves but name what does not exist."""

    exit_code = 2

    def __init__(self, faults: Sequence[tuple[tuple[str, ...], str, str]]) -> None:
        """Take for each fault its key path, what is wrong, and what to do."""
        lines = [f"{'.'.join(key)}: {wrong}; {remedy}" for key, wrong, remedy in faults]
        Exception.__init__(self, "\n".join(lines))
        self.faults = tuple(faults)


class StageError(MadpipeError):
    """A stage found its input or its own result wanting."""


class UndeclaredAccess(StageError):
    """A stage asked for a setting, input or file that its declaration does not name."""


class StoreError(MadpipeError):
    """The working folder cannot be read or written."""


class LockedError(StoreError):
    """Another process holds the working folder."""


class UnavailableError(MadpipeError):
    """The machine lacks what was asked for by name."""

    exit_code = 5


class Interrupted(MadpipeError):
    """Stopped by a signal; the same command resumes."""

    exit_code = 130

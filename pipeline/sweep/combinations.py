"""The combinations of a sweep: every value of each axis with every value of the others."""

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import UsageError
from pipeline.project import Project


@dataclass(frozen=True, slots=True)
class Combination:
    """One choice of a value for every axis, and the project with these settings."""

    number: int
    """From 1 on, in the order of the command line."""
    changes: tuple[str, ...]
    """`KEY=VALUE` for each axis."""
    project: Project

    @property
    def options(self) -> str:
        """Return the options that select it in `madpipe run`, quoted for a shell.

        With what is fixed for the whole sweep: without it, other stages would run.
        """
        return options_of(self.project.overrides)


def options_of(changes: Sequence[str]) -> str:
    """Return `--set KEY=VALUE ...`, quoted for a shell."""
    return shlex.join(word for change in changes for word in ("--set", change))


def combined(axes: Sequence[str], fixed: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the changes of each combination of `KEY=VALUE,VALUE...`, the last axis the fastest.

    `fixed` are changes that all have, none of which an axis may name again.

    Raises:
        UsageError: An axis is no list of values, or a key stands twice.
    """
    values = []
    keys = {change.partition("=")[0].strip() for change in fixed}
    for axis in axes:
        key, equals, listed = axis.partition("=")
        if not (key and equals and listed):
            raise UsageError("sweep", f"is no KEY=VALUE,VALUE ({axis})", "give a key and values")
        if key in keys:
            remedy = "name it once, with all its values"
            raise UsageError("sweep", f"is given twice ({key})", remedy)
        keys.add(key)
        values.append([f"{key}={value}" for value in split_values(listed)])
    return list(itertools.product(*values))


def split_values(listed: str) -> list[str]:
    """Split at commas, but not within the brackets or quotes of a value.

    Raises:
        UsageError: A bracket or quote has no other end.
    """
    parts, quote, depth = [""], "", 0
    for letter in listed:
        if letter == "," and not quote and not depth:
            parts.append("")
            continue
        parts[-1] += letter
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        else:
            depth += (letter in "[{") - (letter in "]}")
    if quote or depth:
        raise UsageError("sweep", f"a quote or bracket has no other end ({listed})", "close it")
    return parts

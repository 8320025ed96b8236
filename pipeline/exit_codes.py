"""The exit codes of the command `madpipe`: every one, what it means, and what to do about it."""

from typing import Final, NamedTuple

DONE: Final = 0
"""Everything was done, and every gate passed."""
FAILED: Final = 1
"""A stage failed, or a file could not be read or written."""
WRONG_USAGE: Final = 2
"""The command line or the settings are wrong."""
GATE_FAILED: Final = 3
"""A gate of severity `error` failed."""
GATE_INCONCLUSIVE: Final = 4
"""A gate could not decide: too few samples, or too noisy; `--inconclusive` makes it 0 or 3."""
UNAVAILABLE: Final = 5
"""The machine lacks what was asked for by name: a GPU, TensorRT, an execution provider."""
INTERRUPTED: Final = 130
"""Stopped by a signal; the same command resumes."""


class ExitCode(NamedTuple):
    """One exit code in words."""

    code: int
    summary: str
    """A few words, for lists."""
    meaning: str
    remedy: str


ALL: Final = (
    ExitCode(
        DONE,
        "done",
        "Everything was done, and every gate of severity error passed.",
        "Nothing. Gates of severity warn may still have failed; the report lists them.",
    ),
    ExitCode(
        FAILED,
        "a stage failed",
        "A stage failed, a file could not be read or written, or the program has a fault.",
        "Read the last line, which says where, what and what to do; `--traceback` has the details. "
        "What was finished before is stored, and the same command goes on from there.",
    ),
    ExitCode(
        WRONG_USAGE,
        "wrong command or settings",
        "The command line or the settings file is wrong. Nothing was run.",
        "Correct what the message names; all faults of a settings file are listed at once. "
        "`madpipe COMMAND --help` has the options, `madpipe init` writes every setting.",
    ),
    ExitCode(
        GATE_FAILED,
        "a gate failed",
        "All stages ran, and a bound in [gates] (for compare in [compare]) does not hold, with the "
        "confidence that was asked for.",
        "`madpipe report` shows measure, interval and bound. Train longer, take a larger student, "
        "or change the bound; `madpipe gate` judges again and measures nothing.",
    ),
    ExitCode(
        GATE_INCONCLUSIVE,
        "a gate is inconclusive",
        "No gate failed, but the sample cannot decide one, or what it bounds was not measured.",
        "Take more held-out images or validate.pairs, a quieter machine, or a wider bound; the "
        "verdict names how many would do. `--inconclusive pass` or `fail` decides in their place.",
    ),
    ExitCode(
        UNAVAILABLE,
        "the machine lacks what was asked for",
        "Something that the settings ask for by name is not here: a GPU, a backend, a package, "
        "an execution provider.",
        "`madpipe doctor` shows what is here and how to get the rest; or set `auto`.",
    ),
    ExitCode(
        INTERRUPTED,
        "interrupted",
        "Stopped by Ctrl-C or a signal. The last checkpoint and all finished stages are stored.",
        "Repeat the same command: it goes on from there.",
    ),
)
"""All of them, in order."""


def overview() -> str:
    """Return all codes in one sentence."""
    codes = ", ".join(f"{entry.code} {entry.summary}" for entry in ALL)
    return f"Exit codes: {codes}. `madpipe help CODE` says what to do about one."

"""The exit codes of the command `madpipe`: every one, and what it means."""

from typing import Final

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

"""What comes behind a signal: no process of the run lives, and the same command ends."""

import subprocess
from pathlib import Path

from benchmarks.reliability import left_alone, marked_processes, small_project
from benchmarks.reliability.left_alone import Alone

LONGEST_S = 600.0
"""No run takes longer, on however slow a machine."""
GONE_WITHIN_S = 30.0
"""So soon no process of a run that was ended lives."""
_SCRATCH = "madpipe-*"


def fault(project: Path, shared: Path, alone: Alone) -> tuple[str, dict[str, float]]:
    """Run the command again behind a signal.

    Returns:
        What is wrong with what is left and how it ends, "" where nothing is, and figures.
    """
    if living := marked_processes.gone(str(project), within_s=GONE_WITHIN_S):
        return f"expected no process {GONE_WITHIN_S:g} s later, seen {living[0]}", {}
    scratch = sum(1 for _ in (project / "tmp").glob(_SCRATCH))
    watched = left_alone.variables(shared, project, project.with_name("later-calls"))
    try:
        ended = small_project.run(
            project, "run", alone.target, variables=watched, limit_s=LONGEST_S
        )
    except subprocess.TimeoutExpired:
        return f"expected that the same command ends, seen none within {LONGEST_S:g} s", {}
    if ended.code or ended.stderr:
        return f"expected that the same command ends with 0, seen {ended.code}: {ended.stderr}", {}
    return left_alone.fault(project / ".madpipe", alone), {"left_in_tmp": scratch}


def error_fault(code: int, stderr: str, *, expected: int, words: str) -> str:
    """Return what is wrong with how a run failed: with a code and one line that holds `words`."""
    lines = stderr.strip().splitlines()
    if code != expected or len(lines) != 1 or words not in lines[0]:
        return f"expected {expected} and {words!r} in one line, seen {code}: {stderr[-400:]}"
    return ""

"""The piece of power cuts: every cut of one recorded run, each with several states of the disk.

One `madpipe run all` is recorded by strace, and every recording is compared with the files that it
left. A case is a cut behind one of its operations. What is then on the disk is drawn some times
from all that a journalling file system allows (`disk`), and each state is judged by digests of the
recording and by madpipe's own check. From one of them `plan` and another command go on as real
processes, and of some cases `run all` to its end, whose results must be those of the recorded run.

Not tested: a real loss of power, or a device that says it wrote what it did not; file systems that
tear a rename; a cut in a run that goes on from another cut; folders of shared caches and packages.
"""

import pickle
import shutil
from pathlib import Path
from random import Random

from benchmarks.reliability import small_project
from benchmarks.reliability.cases import Case, Outcome, Piece
from benchmarks.reliability.power_cut import disk, judge, recording
from benchmarks.reliability.power_cut.judge import HOME, Recorded
from benchmarks.reliability.power_cut.operations import Operation, Synced, Written

_NAME = "power-cut"
_CASES = 240
_STATES = 10
_RERUN_EACH = 12
_OTHERS = (
    ("status",),
    ("why", "distill"),
    ("report", "--format", "json"),
    ("gate",),
    ("cache", "verify"),
    ("cache", "ls"),
    ("cache", "gc", "--unfinished"),
)
_OPERATIONS = "operations.pickle"
_LONGEST_S = 900.0


def cases(seed: int) -> list[Case]:
    """Return cuts from the start of a run to its end; each twelfth is followed by a whole run."""
    listed = []
    for number in range(_CASES):
        what = "cut, then plan and run all" if number % _RERUN_EACH == 0 else "cut, then plan"
        listed.append(Case.numbered(number, what, piece=_NAME, seed=seed))
    return listed


def prepare(shared: Path) -> None:
    """Record a run.

    Raises:
        SystemExit: There is no strace.
    """
    if shutil.which("strace") is None:
        raise SystemExit("power-cut: strace is not installed")
    project = small_project.write(shared / "project")
    command = [str(small_project.MADPIPE), "run", "all"]
    trace = shared / "trace"
    operations = recording.record(command, project, trace, small_project.environment())
    trace.unlink()
    (shared / _OPERATIONS).write_bytes(pickle.dumps(operations))


def play(case: Case, folder: Path, shared: Path) -> Outcome:
    """Cut a recorded run once and judge what may be left."""
    operations: list[Operation] = pickle.loads((shared / _OPERATIONS).read_bytes())  # noqa: S301  (ours)
    recorded, random = Recorded(operations), Random(case.seed)  # noqa: S311  (not for secrets)
    cut = _cut(case.number, operations, random)
    remark = f"after operation {cut} of {len(operations)}"
    files: dict[str, bytes | None] = {}
    for _ in range(_STATES):
        files = disk.Disk(operations[:cut], random).files()
        if wrong := judge.fault(files, recorded, cut):
            return Outcome(fault=f"expected old or new, {remark}: {wrong}", remark=remark)
    project = small_project.write(folder / "project")
    disk.write(files, project)
    if wrong := judge.store_fault(project):
        return Outcome(fault=f"expected sound entries, {remark}: {wrong}", remark=remark)
    is_rerun = case.number % _RERUN_EACH == 0
    wrong = _go_on(project, shared / "project", random, is_rerun=is_rerun)
    figures = {"states": float(_STATES), "reruns": float(is_rerun)}
    return Outcome(fault=f"{wrong}, {remark}" if wrong else "", remark=remark, figures=figures)


def _cut(number: int, operations: list[Operation], random: Random) -> int:
    """Return after how many operations to cut: evenly spread, and half of them not in writes."""
    if number == _CASES - 1:
        return len(operations)
    edges = [i for i, x in enumerate(operations) if not isinstance(x, Written)]
    edges += [i + 1 for i, x in enumerate(operations) if isinstance(x, Synced)]
    places = sorted(edges) if number % 2 else range(len(operations))
    return places[int((number + random.random()) / _CASES * len(places))]


def _go_on(project: Path, alone: Path, random: Random, *, is_rerun: bool) -> str:
    """Return what is wrong with how commands go on from a state; empty: nothing."""
    # A state of the folder for each: what one command writes is not there for the next.
    for arguments in (("plan",), random.choice(_OTHERS)):
        copy = project.with_name("copy")
        shutil.copytree(project, copy)
        ended = small_project.run(copy, *arguments, limit_s=_LONGEST_S)
        shutil.rmtree(copy)
        text = ended.stdout + ended.stderr
        # Without measurements there is nothing to report or to judge.
        codes = (0,) if arguments[0] in ("plan", "cache", "status") else (0, 1)
        if ended.code not in codes or "Traceback" in text or "damaged:" in text:
            return (
                f"{' '.join(arguments)}: expected {codes}, ended with {ended.code}: {text[-300:]}"
            )
    if not is_rerun:
        return ""
    ended = small_project.run(project, "run", "all", limit_s=_LONGEST_S)
    if ended.code:
        return f"run all: expected 0, ended with {ended.code}: {ended.stderr[-300:]}"
    expected = small_project.results(alone / HOME)
    seen = small_project.results(project / HOME)
    # Measured times are in the measurements, and so in nobody's key.
    return "" if seen == expected else f"expected {expected}, saw {seen}"


PIECE = Piece(
    name=_NAME,
    claim="after a power cut each entry is whole or absent and each record old or new; the same "
    "command ends with the same results",
    cases=cases,
    play=play,
    prepare=prepare,
)

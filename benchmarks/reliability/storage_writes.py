"""Every place at which a whole run changes files fails once.

A run left alone is noted by a shim below the process (`storage_shim.c`): some 270 places of seven
calls in madpipe 0.1. In each case one of them fails, with an error that is drawn, and the run has
to end as a run has to; then the same command without the fault has to leave what the run left
alone did.
A case starts with the stages stored that come before the place, so that it takes seconds.

Not tested: writes by the C library's streams other than their opening, and through memory maps; no
library that a run uses has any below the project.
"""

import random
import shutil
from pathlib import Path

import msgspec

from benchmarks.reliability import small_project, storage_judge, storage_shim
from benchmarks.reliability.cases import Case, Outcome, Piece
from benchmarks.reliability.small_project import STAGES
from benchmarks.reliability.storage_shim import Fault, Shim, Site

CASES = 320
"""More than there are places, so that each fails once, and some in a second way."""
HOME = ".madpipe"
_COMMAND = ("run", "all")
_NO_ROOM = ("ENOSPC", "EDQUOT")
_ERRORS = {
    "open": (*_NO_ROOM, "EACCES", "EROFS", "EMFILE"),
    "write": (*_NO_ROOM, "EIO"),
    "fsync": (*_NO_ROOM, "EIO"),
    "rename": ("ENOSPC", "EACCES", "EROFS", "EIO"),
    "mkdir": (*_NO_ROOM, "EACCES", "EROFS"),
    "unlink": ("EACCES", "EROFS", "EIO", "EBUSY"),
    "chmod": ("EPERM", "EROFS", "EIO"),
    "link": ("ENOSPC", "EPERM", "EROFS"),
}
_AT_THE_START = ("layout.json", ".gitignore")
_NAME = "storage-writes"


def drawn(site: Site, seed: int) -> Fault:
    """Return a fault at a place; all that is random follows from the seed."""
    rng = random.Random(seed)  # noqa: S311  (it draws faults)
    error = rng.choice(_ERRORS[site.call])
    stays = error in (*_NO_ROOM, "EROFS") and rng.random() < 0.5
    is_short = site.call == "write" and error in _NO_ROOM and rng.random() < 0.5
    # Not the last ones: how many lines of progress there are is a matter of time.
    nth = rng.randint(1, max(1, site.times * 3 // 4))
    return Fault(site, nth, error, stays=stays, is_short=is_short)


def stored_before(path: str) -> int:
    """Return how many stages have to be stored so that a run comes to a place below the project."""
    _, *names = path.split("/")
    if len(names) > 1 and names[0] in {"entries", "work"}:
        return STAGES.index(names[1])
    is_at_the_start = len(names) < 2 and not {"lock", "lock.json"} & set(names)
    is_at_the_start &= not any(name.startswith(("digests", "rates")) for name in names)
    is_at_the_start |= any(name.startswith(_AT_THE_START) for name in names)
    return 0 if is_at_the_start else len(STAGES) - 1


def start(folder: Path, whole: Path, stages: int) -> Path:
    """Make a project in which so many stages of a whole one are stored; return its folder."""
    project = small_project.write(folder)
    if stages:
        for stage in STAGES[:stages]:
            shutil.copytree(whole / HOME / "entries" / stage, project / HOME / "entries" / stage)
        for name in _AT_THE_START:
            shutil.copy2(whole / HOME / name, project / HOME / name)
    return project


def prepare(shared: Path) -> None:
    """Compile the shim, and note a run that is left alone."""
    shim = Shim(storage_shim.compiled(shared), shared / "calls")
    project = small_project.write(shared / "whole")
    variables = small_project.environment(**shim.variables(project))
    ended = small_project.run(project, *_COMMAND, variables=variables)
    assert ended.code == 0, ended.stderr
    places = storage_shim.sites(shim.seen())
    assert len(places) <= CASES, f"{len(places)} places: raise CASES"
    (shared / "sites.json").write_bytes(msgspec.json.encode(places))


def play(case: Case, folder: Path, shared: Path) -> Outcome:
    """Let one place fail, then run again without the fault."""
    sites = msgspec.json.decode((shared / "sites.json").read_bytes(), type=list[Site])
    fault = drawn(sites[case.number % len(sites)], case.seed)
    project = start(folder / "project", shared / "whole", stored_before(fault.site.path))
    home = project / HOME
    before = storage_judge.kept(home)
    shim = Shim(shared / "storage_shim.so", folder / "calls")
    variables = small_project.environment(**shim.variables(project, fault))
    ended = small_project.run(project, *_COMMAND, variables=variables)
    failed = [project / path for path in shim.failed()]
    remark = f"{fault}; exit {ended.code}"
    if not failed:
        return Outcome(fault=f"the fault was not met: {ended.stderr}", remark=remark)
    expected = small_project.results(shared / "whole" / HOME)
    wrong = storage_judge.store_fault(home, before)
    if not wrong and ended.code:
        wrong = storage_judge.message_fault(ended, project, failed)
    elif not wrong and small_project.results(home) != expected:
        wrong = "exit code 0, and other results than a run left alone has"
    return Outcome(fault=wrong or again(project, expected), remark=remark)


def again(project: Path, expected: small_project.Results) -> str:
    """Run without the fault; return what is not as a run left alone leaves it."""
    ended = small_project.run(project, *_COMMAND)
    if ended.code or ended.stderr:
        return f"without the fault: exit code {ended.code}, expected 0: {ended.stderr[-400:]}"
    if small_project.results(project / HOME) != expected:
        return "without the fault: other results than a run left alone has"
    return storage_judge.left_behind(project / HOME)


PIECE = Piece(
    name=_NAME,
    claim="every place at which a whole run changes files fails: one message that names the "
    "path, nothing lost, and the same command then ends as a run left alone",
    cases=lambda seed: [
        Case.numbered(i, f"place {i} of a run's writes fails", piece=_NAME, seed=seed)
        for i in range(CASES)
    ],
    play=play,
    prepare=prepare,
)

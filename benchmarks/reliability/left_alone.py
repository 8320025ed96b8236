"""A run that nothing disturbs, and what another run left that it did not."""

import functools
import hashlib
import json
import re
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.reliability import fault_points, leftovers, small_project
from benchmarks.reliability.fault_points import Call
from pipeline.cache.entry import EntryRecord

_BYTE_BY_BYTE = frozenset({"teacher", "distill", "export"})
"""Stages of which every output has to come out byte by byte."""
_BUILD = "build"
_NUMBERED = re.compile(rb"__mye\d+")
"""Names of what is between two layers in an engine of TensorRT-RTX: each build counts anew."""
_FACTS = "seconds.json"


class Alone(NamedTuple):
    """A run left alone."""

    project: Path
    stages: tuple[str, ...]
    """Which it ran."""
    seconds: float
    calls: list[Call]
    """By which it changed files, in their order."""
    digests: dict[str, str]
    """sha256 of each output that has to come out byte by byte, and the key of each stage."""
    points: dict[str, set[int]]
    """The steps of which its trainings tell figures, by stage."""

    @property
    def target(self) -> str:
        """The word of `madpipe run` that names them."""
        return "all" if self.stages == small_project.STAGES else self.stages[-1]

    @property
    def home(self) -> Path:
        """The working folder."""
        return self.project / ".madpipe"


def make(
    shared: Path,
    *,
    settings: str = small_project.SETTINGS,
    name: str = "alone",
    stages: tuple[str, ...] = small_project.STAGES,
) -> None:
    """Run a project undisturbed in a folder, up to the last of `stages`.

    Raises:
        AssertionError: It failed.
    """
    project = small_project.write(shared / name, settings=settings)
    watched = variables(shared, project, shared / f"{name}.log")
    warm = small_project.run(project, "plan", variables=watched)  # bytecode is compiled
    assert warm.code == 0, warm.stderr
    begin_s = time.perf_counter()
    ended = small_project.run(project, "run", stages[-1], variables=watched)
    assert ended.code == 0, ended.stderr
    facts = json.dumps({"seconds": time.perf_counter() - begin_s, "stages": stages})
    (shared / f"{name}-{_FACTS}").write_text(facts, encoding="utf-8")


def variables(
    shared: Path, project: Path, log: Path, strike: fault_points.Strike | None = None
) -> dict[str, str]:
    """Return the variables of a run whose changes are noted; it has its own folder for scratch."""
    scratch = project / "tmp"
    scratch.mkdir(exist_ok=True)
    watched = fault_points.variables(
        fault_points.library(shared), root=project / ".madpipe", log=log, strike=strike
    )
    return small_project.environment(**watched, TMPDIR=str(scratch))


@functools.cache
def load(shared: Path, name: str = "alone") -> Alone:
    """Return what `make` left in a folder."""
    project = shared / name
    facts = json.loads((shared / f"{name}-{_FACTS}").read_text(encoding="utf-8"))
    home, stages = project / ".madpipe", tuple(facts["stages"])
    calls = fault_points.calls(shared / f"{name}.log")
    return Alone(
        project, stages, facts["seconds"], calls, digests(home, stages), points(home, stages)
    )


def digests(home: Path, stages: tuple[str, ...]) -> dict[str, str]:
    """Return what two equal runs have in common, read anew from a working folder.

    Raises:
        AssertionError: A stage has no entry, or a file differs from what its record says.
    """
    results = small_project.results(home, stages)
    digest_of = {f"key of {stage}": key for stage, key in results.keys.items()}
    digest_of |= {small_project.RESULTS[stage]: digest for stage, digest in results.digests.items()}
    if _BUILD in stages:
        digest_of["engine"] = hashlib.sha256(_engine(home)).hexdigest()
    for stage in set(stages) & _BYTE_BY_BYTE:
        record = _record(home, stage)
        digest_of |= {output.file: output.sha256 for output in record.outputs.values()}
    return digest_of


def points(home: Path, stages: tuple[str, ...]) -> dict[str, set[int]]:
    """Return of which steps the entries' events tell figures."""
    steps: dict[str, set[int]] = {}
    for stage in stages:
        lines = (_folder(home, stage) / "events.jsonl").read_bytes().splitlines()
        events = [msgspec.json.decode(line, type=dict[str, object]) for line in lines]
        steps[stage] = {int(str(x["step"])) for x in events if x["kind"] == "point"}
    return steps


def fault(home: Path, alone: Alone) -> str:
    """Return what of a finished run is not as in one left alone, "" where all is.

    The working folder looks old afterwards, so that what was left is removed as it would be.
    """
    try:
        seen, steps = digests(home, alone.stages), points(home, alone.stages)
    except (AssertionError, OSError, msgspec.DecodeError) as error:
        return f"expected sound entries, seen: {error}"
    wrong = [name for name, digest in alone.digests.items() if seen.get(name) != digest]
    if wrong:
        others = ", ".join(wrong)
        if wrong == ["engine"]:
            others += f" ({_engine_difference(_engine(alone.home), _engine(home))})"
        return f"expected the bytes of a run left alone, seen others: {others}"
    if steps != alone.points:
        lost = {x: sorted(alone.points[x] - steps[x]) for x in steps if steps[x] != alone.points[x]}
        return f"expected figures of all steps in the events, seen none of {lost}"
    if count := [stage for stage in alone.stages if _count(home, stage) != 1]:
        return f"expected one entry a stage, seen others: {', '.join(count)}"
    leftovers.age(home)
    if strange := leftovers.strange_files(home):
        return f"expected the files of a run left alone, seen also {', '.join(strange[:5])}"
    if missing := leftovers.missing_files(home, alone.home):
        return f"expected the files of a run left alone, seen no {', '.join(missing[:5])}"
    return ""


def _engine(home: Path) -> bytes:
    """Return the bytes of an engine, but for numbers that no two builds have in common."""
    file = _record(home, _BUILD).outputs["engine"].file
    return _NUMBERED.sub(b"__mye", (_folder(home, _BUILD) / file).read_bytes())


def _engine_difference(wanted: bytes, seen: bytes) -> str:
    """Return where two engines begin to differ, with what stands there."""
    pairs = enumerate(zip(wanted, seen, strict=False))
    common = next((at for at, (a, b) in pairs if a != b), min(len(wanted), len(seen)))
    excerpts = [engine[max(0, common - 24) : common + 24] for engine in (wanted, seen)]
    return f"{len(wanted)} and {len(seen)} bytes, at {common}: {excerpts[0]!r}, {excerpts[1]!r}"


def _record(home: Path, stage: str) -> EntryRecord:
    return EntryRecord.decode((_folder(home, stage) / "entry.json").read_bytes())


def _folder(home: Path, stage: str) -> Path:
    pointer = home / "entries" / stage / "newest"
    return pointer.with_name(pointer.read_text(encoding="utf-8"))


def _count(home: Path, stage: str) -> int:
    return sum(path.is_dir() for path in (home / "entries" / stage).iterdir())

"""The piece `cache-truth`: what the keys promise, tried by running without any cache.

A project is run anew with one thing changed. Whatever stage has the key that it had before must
leave the bytes that it left before, or the cache would have given a wrong result. And a stage that
runs again for a change of its code, and leaves the same bytes, must be the last that runs.

Not tested: numbers of threads and other processors, which change the last bits of what is trained,
and which are in no key on purpose; latencies, which are measured and never the same.
"""

import functools
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.reliability import small_project
from benchmarks.reliability.cache_hits import changed_settings, probe
from benchmarks.reliability.cache_hits.changed_settings import Change
from benchmarks.reliability.cases import Case, Outcome, Piece
from pipeline.cache.entry import EntryRecord

_STAGES = ("teacher", "distill", "export", "build")
_MEASURED = {"candidates"}
"""Outputs with times in them."""
_SHORT = ("teacher.epochs=1", "distill.rounds=3", "teacher.arch=resnet8")
_NOT_RUN = ("distill.compile", "distill.processes", "build.targets", "build.backend", "data.source")
"""Settings whose other values need a compiler, a GPU or files that are not here."""
_OF_FEW_IMAGES = ("distill.images", "distill.lambda2")
_SMALL_BATCH = "distill.batch_size=2"
VARIABLES = {
    "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C", "COLUMNS": "40", "TERM": "dumb",
    "PYTHONOPTIMIZE": "1",
}  # fmt: skip
_RECORDS = dict[str, EntryRecord]


def _settings() -> list[str]:
    """Return the settings of which a stage before validate may know."""
    tables = ("seed", "data", "teacher", "student", "distill", "bank", "export", "build")
    names = [n for n in changed_settings.names() if n.partition(".")[0] in tables]
    return [name for name in names if name not in _NOT_RUN and "tensorrt" not in name]


def cases(seed: int) -> Sequence[Case]:
    """Return every case."""
    whats = [
        *(f"cut-off {stage}" for stage in _STAGES),
        *(f"variable {name}" for name in VARIABLES),
        "place with a long name",
        *(f"setting {name}" for name in _settings()),
    ]
    return [
        Case.numbered(number, what, piece=PIECE.name, seed=seed)
        for number, what in enumerate(whats)
    ]


def play(case: Case, folder: Path, shared: Path) -> Outcome:
    """Play one case."""
    kind, _, name = case.what.partition(" ")
    if kind == "cut-off":
        return _cut_off(name, folder, shared)
    before: tuple[str, ...] = ()
    after, place, variables = before, folder / "project", {}
    match kind:
        case "variable":
            variables = {name: VARIABLES[name]}
        case "place":
            place = folder / ("a long name, öäü, " * 8)
        case _:
            changed = changed_settings.change_of(name, shared / "base", _SHORT)
            if not isinstance(changed, Change):
                return Outcome(remark="the rules allow no other value here")
            before, after = changed.before, changed.after
            if name in _OF_FEW_IMAGES:
                before, after = ((*changes, _SMALL_BATCH) for changes in (before, after))
    first, fault = _run(shared, before)
    second, fault = _run_anew(place, after, variables) if not fault else ({}, fault)
    return _compared(first, second) if not fault else Outcome(remark=f"does not run: {fault}")


def _compared(first: _RECORDS, second: _RECORDS) -> Outcome:
    """Hold what two runs left against their keys."""
    faults, same_bytes = [], []
    for stage in _STAGES:
        a, b = (_bytes_of(records[stage]) for records in (first, second))
        if first[stage].key == second[stage].key and a != b:
            names = sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
            faults.append(f"WRONG HIT of {stage}: the same key, other bytes ({', '.join(names)})")
        if first[stage].key != second[stage].key and a == b:
            same_bytes.append(stage)
    remark = f"another key, the same bytes: {', '.join(same_bytes)}" if same_bytes else ""
    compared = sum(first[stage].key == second[stage].key for stage in _STAGES)
    return Outcome(fault="; ".join(faults), remark=remark, figures={"same_keys": float(compared)})


def _bytes_of(record: EntryRecord) -> dict[str, str]:
    return {name: output.sha256 for name, output in record.outputs.items() if name not in _MEASURED}


@functools.cache
def _run(shared: Path, overrides: tuple[str, ...]) -> tuple[_RECORDS, str]:
    """Return what a run of the project with these settings leaves, run once, or why it fails."""
    place = shared / f"run-{len([*shared.glob('run-*')])}"
    return _run_anew(place, overrides or _SHORT, {})


def _run_anew(
    place: Path, overrides: Sequence[str], variables: Mapping[str, str]
) -> tuple[_RECORDS, str]:
    """Run the project in a new folder; return the entries' records, or why it does not run."""
    _write(place)
    settings = [part for change in overrides or _SHORT for part in ("--set", change)]
    ended = small_project.run(
        place, "run", "build", *settings, variables=small_project.environment(**variables)
    )
    if ended.code:
        return {}, ended.stderr.strip().splitlines()[-1]
    records = {}
    for stage in _STAGES:
        pointer = place / ".madpipe" / "entries" / stage / "newest"
        entry = pointer.with_name(pointer.read_text(encoding="utf-8")) / "entry.json"
        records[stage] = EntryRecord.decode(entry.read_bytes())
    return records, ""


def _write(place: Path) -> None:
    from benchmarks.reliability.cache_hits import projects  # noqa: PLC0415  (imports torch)

    projects.PROJECTS["digits"](place)


def _cut_off(stage: str, folder: Path, shared: Path) -> Outcome:
    """Change the code of one stage so that it leaves the same, and see what runs."""
    sources = probe.copy_sources(folder / "sources")
    _run(shared, ())
    place = shutil.copytree(shared / "run-0", folder / "project")
    file = sources / "stages" / stage / "stage.py"
    file.write_text(f"{file.read_text(encoding='utf-8')}\nONE_NAME_MORE = 1\n", encoding="utf-8")
    settings = [part for change in _SHORT for part in ("--set", change)]
    variables = small_project.environment(PYTHONPATH=str(sources))
    ended = small_project.run(place, "run", "build", "--json", *settings, variables=variables)
    if ended.code:
        return Outcome(fault=f"does not run: {ended.stderr.strip()}")
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    seen = {e["stage"]: e["status"] for e in events if e.get("kind") == "stage_done"}
    expected = {name: "ran" if name == stage else "hit" for name in _STAGES}
    fault = "" if seen == expected else f"expected {stage} alone to run, seen {seen}"
    return Outcome(fault=fault)


def prepare(shared: Path) -> None:
    """Write the project that settings are tried on."""
    _write(shared / "base")


PIECE = Piece(
    name="cache-truth",
    claim="a stage that keeps its key leaves the bytes that it left before",
    cases=cases,
    play=play,
    prepare=prepare,
)

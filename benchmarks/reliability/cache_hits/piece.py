"""The piece `cache-hits`: one change at a time, and which keys follow it."""

import atexit
import dataclasses
import functools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.reliability.cache_hits import (
    changed_code,
    changed_inputs,
    changed_machine,
    changed_modules,
    changed_settings,
    expected,
    loaded,
    probe,
    projects,
)
from benchmarks.reliability.cache_hits.changed_inputs import Mutation
from benchmarks.reliability.cache_hits.changed_settings import Change
from benchmarks.reliability.cache_hits.edits import COPY
from benchmarks.reliability.cache_hits.keys_probe import keys_of, opened
from benchmarks.reliability.cases import Case, Outcome, Piece
from pipeline.cache import externals
from pipeline.project import Project
from pipeline.settings import Settings
from stages.catalog import declare

ROOT = Path(__file__).parents[3]
_TICK_S = 0.15
"""Longer than a tick of this file system's clock, which cases do not wait out in full."""
Play = Callable[[Case, Path, Path], Outcome]


def _plays() -> dict[str, Play]:
    """Return what plays each case, by what it does; made anew from settings and sources."""
    plays: dict[str, Play] = {}
    for project in expected.SETTINGS:
        for name in changed_settings.names():
            plays[f"setting {name} ({project})"] = functools.partial(_setting, project, name)
    for number, change in enumerate(changed_settings.bounds()):
        plays[f"bound {number} {change.setting}"] = functools.partial(_bound, change)
    for mutation in (*changed_inputs.MUTATIONS, *changed_code.MUTATIONS):
        plays[mutation.what] = functools.partial(_mutation, mutation)
    for project in projects.PROJECTS:
        plays[f"inputs of stages ({project})"] = functools.partial(_inputs, project)
    for name in changed_modules.modules(ROOT):
        plays[f"module {name}"] = functools.partial(_module, name)
    for stage in sorted(expected.ALL):
        plays[f"packages that {stage} loads"] = functools.partial(_packages, stage)
    return plays | dict(changed_machine.plays())


def cases(seed: int) -> Sequence[Case]:
    """Return every case."""
    return [
        Case.numbered(number, what, piece=PIECE.name, seed=seed)
        for number, what in enumerate(_plays())
    ]


def play(case: Case, folder: Path, shared: Path) -> Outcome:
    """Play one case."""
    return _plays()[case.what](case, folder, shared)


def _setting(project: str, name: str, _case: Case, folder: Path, shared: Path) -> Outcome:
    """Change one setting of a project."""
    place = shutil.copytree(shared / project, folder / project)
    change = changed_settings.change_of(name, place)
    if change is None:
        return Outcome(fault="no other value could be made of it; add one to VALUES")
    before = change.before if isinstance(change, Change) else ()
    first = opened(place, before)
    if isinstance(change, Change):
        second = opened(place, change.after)
        remark = " ".join(change.after)
    else:
        second = _redeclared(first, change)
        remark = "with a value that the rules refuse here"
    seen = probe.changed(keys_of(first), keys_of(second))
    stages = expected.stages_of(name, expected.SETTINGS[project])
    if stages is None:
        return Outcome(fault="nobody wrote down what it can change; add it to SETTINGS")
    allowed = expected.WITHOUT_NEED.get(name, frozenset())
    fault = probe.judged(stages, seen - (allowed - stages))
    return Outcome(fault=fault, remark=remark, figures={"keys": float(len(seen))})


def _redeclared(project: Project, settings: Settings) -> Project:
    """Return a project with settings that no file can hold."""
    stages = declare(settings, project.path.resolve().parent)
    return dataclasses.replace(project, settings=settings, stages=stages)


def _bound(change: Change, _case: Case, folder: Path, shared: Path) -> Outcome:
    """Change one bound, which measures nothing again."""
    place = shutil.copytree(shared / "digits", folder / "digits")
    seen = probe.changed(keys_of(opened(place)), keys_of(opened(place, change.after)))
    return Outcome(fault=probe.judged(expected.NONE, seen), remark=change.after[0])


def _mutation(mutation: Mutation, _case: Case, folder: Path, shared: Path) -> Outcome:
    """Change a file from outside, after its digest has been remembered."""
    place = shutil.copytree(shared / mutation.project, folder / mutation.project, symlinks=True)
    mutation.before(place)
    usual_ns, externals._COARSEST_TIME_NS = externals._COARSEST_TIME_NS, 0
    try:
        time.sleep(_TICK_S)
        before = keys_of(opened(place))
        again = keys_of(opened(place))
        mutation.edit(place)
        copy = place.with_name(COPY)
        seen = probe.changed(before, keys_of(opened(copy if copy.is_dir() else place)))
    finally:
        externals._COARSEST_TIME_NS = usual_ns
    if again != before:
        return Outcome(fault="the keys differ although nothing was changed")
    return Outcome(fault=probe.judged(mutation.expected, seen))


def _inputs(project: str, _case: Case, _folder: Path, shared: Path) -> Outcome:
    """Change each input of each stage, one at a time."""
    project_opened = opened(shared / project)
    before, faults, count = keys_of(project_opened), [], 0
    for stage in project_opened.stages:
        for name in stage.inputs:
            seen = probe.changed(before, keys_of(project_opened, f"{stage.name}:{name}"))
            count += 1
            if fault := probe.judged(frozenset({stage.name}), seen):
                faults.append(f"{name}: {fault}")
    return Outcome(fault="; ".join(faults), figures={"inputs": float(count)})


def _module(name: str, case: Case, _folder: Path, shared: Path) -> Outcome:
    """Change one module of ours."""
    prober = _prober(shared)
    file = changed_modules.file_of(name, shared / "sources")
    text = changed_modules.changed_source(file.read_text(encoding="utf-8"), case.seed)
    seen = prober.changed(file, text)
    fault, remark = changed_modules.judged(name, _loaded(shared).ours, seen)
    remarked = f"# a remark\n{file.read_text(encoding='utf-8')}\n# another\n"
    if any(prober.changed(file, remarked).values()):
        fault = f"{fault} needless run: a remark changed keys".strip()
    return Outcome(fault=fault, remark=remark)


def _packages(stage: str, _case: Case, _folder: Path, shared: Path) -> Outcome:
    """Look whether each package that a stage loads is in its key, or cannot matter."""
    declared = {item.name: item for item in opened(shared / "digits").stages}[stage].packages
    names = {part for name in declared for part in name.split("|")}
    allowed = {*expected.NOT_DECIDING, *expected.NOT_DECIDING_IN.get(stage, {})}
    missing = sorted(
        f"{name} ({module})"
        for module in _loaded(shared).packages[stage]
        for name in _distributions().get(module, ())
        if name not in names and name not in allowed
    )
    fault = f"loads {', '.join(missing)}: in no key, and nobody wrote down why" if missing else ""
    return Outcome(fault=fault)


@functools.cache
def _distributions() -> Mapping[str, Sequence[str]]:
    return metadata.packages_distributions()


@functools.cache
def _prober(shared: Path) -> probe.Prober:
    """Return the process that is asked after changes of our modules, started once."""
    sources = probe.copy_sources(shared / "sources")
    prober = probe.Prober(sources, [shared / name for name in projects.PROJECTS])
    atexit.register(prober.close)
    return prober


@functools.cache
def _loaded(shared: Path) -> loaded.Loaded:
    """Return what the stages load, found out once."""
    (shared / "run").mkdir()
    return loaded.of_run(shared / "run")


def prepare(shared: Path) -> None:
    """Write the projects, and let their sources be looked at once."""
    projects.write_all(shared)
    known: Path | None = None
    for name in projects.PROJECTS:
        project = opened(shared / name)
        if known is not None:
            project.store.prepare()
            shutil.copy(known, project.store.digest_cache_path)
        keys_of(project)
        known = project.store.digest_cache_path


PIECE = Piece(
    name="cache-hits",
    claim="a change that can alter a stage's result changes its key, any other changes none",
    cases=cases,
    play=play,
    prepare=prepare,
)

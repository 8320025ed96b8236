"""What a run would do: the order of the stages, and for each a hit or a miss, and why."""

from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Literal, NamedTuple

from pipeline.cache.digests import DigestCache
from pipeline.cache.entry import Entry
from pipeline.cache.keys import KeyDocument, differences, key_document, key_of
from pipeline.cache.store import Store
from pipeline.errors import UsageError, did_you_mean
from pipeline.settings import Settings
from pipeline.stage import Stage

ALL = "all"
Action = Literal["hit", "run", "resume", "wait"]


class Planned(NamedTuple):
    """What would happen to one stage.

    `hit`: its entry is used. `run`: it runs. `resume`: it goes on from a checkpoint.
    `wait`: a stage before it runs first, and only then can this be known.
    """

    stage: Stage
    action: Action
    reasons: tuple[str, ...]
    key: str | None = None
    key_document: KeyDocument | None = None
    entry: Entry | None = None


def ordered(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the stages so that each comes after those it reads from, else in the order given.

    Raises:
        ValueError: Two have one name, an input names nothing, or they depend on each other.
    """
    names = [stage.name for stage in stages]
    if len(set(names)) != len(names):
        message = f"two stages have one name: {names}"
        raise ValueError(message)
    offered = {f"{stage.name}/{output}" for stage in stages for output in stage.outputs}
    for stage in stages:
        if missing := set(stage.inputs) - offered:
            message = f"stage {stage.name} reads what no stage leaves: {sorted(missing)}"
            raise ValueError(message)
    sorter = TopologicalSorter({stage.name: stage.sources for stage in stages})
    try:
        sorter.prepare()
    except CycleError as error:
        message = f"stages depend on each other: {sorted(set(error.args[1]))}"
        raise ValueError(message) from error
    order: list[int] = []
    ready: list[int] = []
    while sorter.is_active():
        # One at a time: what becomes ready may stand before what is ready already.
        first, *ready = sorted([*ready, *map(names.index, sorter.get_ready())])
        order.append(first)
        sorter.done(names[first])
    return tuple(stages[index] for index in order)


def selected(stages: Sequence[Stage], targets: Sequence[str]) -> tuple[Stage, ...]:
    """Return `targets` and all that they read from, in order; `all` selects every stage.

    Raises:
        UsageError: A target is no stage.
    """
    names = named(stages, targets)
    for stage in reversed(stages):
        if stage.name in names:
            names |= stage.sources
    return tuple(stage for stage in stages if stage.name in names)


def named(
    stages: Sequence[Stage], names: Sequence[str], *, allow_all: bool = True
) -> frozenset[str]:
    """Return the names of the stages that `names` lists; `all`, where allowed, lists every one.

    Raises:
        UsageError: A name is no stage.
    """
    known = [stage.name for stage in stages]
    choices = [*known, ALL] if allow_all else known
    for name in names:
        if name not in choices:
            wrong = f"no such stage{did_you_mean(name, choices)} ({name})"
            raise UsageError("command line", wrong, f"name one of {', '.join(choices)}")
    return frozenset(known if ALL in names else names)


def plan(
    stages: Sequence[Stage],
    settings: Settings,
    store: Store,
    digest_cache: DigestCache,
    force: frozenset[str] = frozenset(),
    *,
    bring: Callable[[Planned], Planned] = lambda item: item,
) -> list[Planned]:
    """Return what would happen to each of the ordered `stages`.

    `bring` may make a hit of a stage that would run, by bringing its entry from elsewhere.
    """
    planned: list[Planned] = []
    hits: dict[str, Entry] = {}
    for stage in stages:
        if waits := sorted(stage.sources - hits.keys()):
            planned.append(Planned(stage, "wait", (f"waits for {', '.join(waits)}",)))
            continue
        item = plan_stage(stage, settings, store, digest_cache, hits, force=stage.name in force)
        item = bring(item)
        planned.append(item)
        if item.entry is not None:
            hits[stage.name] = item.entry
    return planned


def plan_stage(
    stage: Stage,
    settings: Settings,
    store: Store,
    digest_cache: DigestCache,
    entries: Mapping[str, Entry],
    *,
    force: bool = False,
) -> Planned:
    """Return what would happen to a stage whose inputs lie in `entries`."""
    inputs = {}
    for name in stage.inputs:
        source, _, output = name.partition("/")
        inputs[name] = entries[source].record.outputs[output].sha256
    document = key_document(stage, settings, inputs, digest_cache)
    key = key_of(document)
    if force:
        return Planned(stage, "run", ("forced",), key, document)
    entry, damage = store.find(stage.name, key)
    action: Action = "run"
    if entry is not None:
        action, reasons = "hit", []
    elif (store.work_path(stage.name, key) / "checkpoint" / "state").is_file():
        action = "resume"
        reasons = ["an unfinished run with this key goes on from its checkpoint"]
    elif damage is not None:
        reasons = [f"the stored entry is damaged: {damage}"]
    else:
        reasons = reasons_for(stage, document, store)
    return Planned(stage, action, tuple(reasons), key, document, entry)


def reasons_for(stage: Stage, document: KeyDocument, store: Store) -> list[str]:
    """Return what differs from the stage's newest entry, or that there is none."""
    newest = store.newest(stage.name)
    if newest is None:
        return ["never run"]
    return differences(newest.record.key_document, document) or ["the stored entry is gone"]

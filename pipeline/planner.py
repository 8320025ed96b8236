"""What a run would do: for each stage a hit or a miss, and why. Runs and writes nothing."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pipeline.cache.digest_cache import DigestCache
from pipeline.cache.keys import KeyDocument, differences, key_document, key_of
from pipeline.cache.store import Entry, Store
from pipeline.settings import Settings
from pipeline.stage import Stage

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


def plan(
    stages: Sequence[Stage],
    settings: Settings,
    store: Store,
    digest_cache: DigestCache,
    force: frozenset[str] = frozenset(),
) -> list[Planned]:
    """Return what would happen to each of the ordered `stages`."""
    planned: list[Planned] = []
    hits: dict[str, Entry] = {}
    for stage in stages:
        if waits := sorted(stage.sources - hits.keys()):
            planned.append(Planned(stage, "wait", (f"waits for {', '.join(waits)}",)))
            continue
        item = plan_stage(stage, settings, store, digest_cache, hits, force=stage.name in force)
        planned.append(item)
        if item.action == "hit" and item.entry is not None:
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
    inputs = {name: input_sha256(entries, name) for name in stage.inputs}
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
    changed = differences(newest.record.key_document, document)
    return changed or ["the stored entry is gone"]


def input_sha256(entries: Mapping[str, Entry], name: str) -> str:
    """Return the digest of the input `stage/output`."""
    source, _, output = name.partition("/")
    return entries[source].record.outputs[output].sha256

"""What a run would do: for each stage a hit or a miss, and why. Runs and writes nothing."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pipeline.cache.digest_cache import Memo
from pipeline.cache.keys import Parts, differences, key_of, key_parts
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
    parts: Parts | None = None
    entry: Entry | None = None


def plan(
    stages: Sequence[Stage],
    settings: Settings,
    store: Store,
    memo: Memo,
    force: frozenset[str] = frozenset(),
) -> list[Planned]:
    """Return what would happen to each of the ordered `stages`."""
    planned: list[Planned] = []
    hits: dict[str, Entry] = {}
    for stage in stages:
        sources = {name.partition("/")[0] for name in stage.inputs}
        if waits := sorted(source for source in sources if source not in hits):
            reason = f"waits for {', '.join(waits)}"
            planned.append(Planned(stage, "wait", (reason,)))
            continue
        item = plan_stage(stage, settings, store, memo, hits, force=stage.name in force)
        planned.append(item)
        if item.action == "hit" and item.entry is not None:
            hits[stage.name] = item.entry
    return planned


def plan_stage(
    stage: Stage,
    settings: Settings,
    store: Store,
    memo: Memo,
    entries: Mapping[str, Entry],
    *,
    force: bool = False,
) -> Planned:
    """Return what would happen to a stage whose inputs lie in `entries`."""
    inputs = {name: input_sha256(entries, name) for name in stage.inputs}
    parts = key_parts(stage, settings, inputs, memo)
    key = key_of(parts)
    if force:
        return Planned(stage, "run", ("forced",), key, parts)
    lookup = store.find(stage.name, key)
    if lookup.entry is not None:
        return Planned(stage, "hit", (), key, parts, lookup.entry)
    if (store.work_path(stage.name, key) / "checkpoint" / "state").is_file():
        return Planned(
            stage,
            "resume",
            ("an unfinished run with this key goes on from its checkpoint",),
            key,
            parts,
        )
    if lookup.damage is not None:
        return Planned(stage, "run", (f"the stored entry is damaged: {lookup.damage}",), key, parts)
    return Planned(stage, "run", tuple(reasons_for(stage, parts, store)), key, parts)


def reasons_for(stage: Stage, parts: Parts, store: Store) -> list[str]:
    """Return what differs from the stage's newest entry, or that there is none."""
    newest = store.newest(stage.name)
    if newest is None:
        return ["never run"]
    changed = differences(newest.manifest.parts, parts)
    return changed or ["the stored entry is gone"]


def input_sha256(entries: Mapping[str, Entry], name: str) -> str:
    """Return the digest of the input `stage/output`."""
    source, _, output = name.partition("/")
    return entries[source].manifest.outputs[output].sha256

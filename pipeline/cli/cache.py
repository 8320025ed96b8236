"""Commands that look after the store: cache ls, verify, gc, push, pull."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cache import sync
from pipeline.cache.entry import damage_of
from pipeline.cache.lock import write_lock
from pipeline.cache.remotes import Remote, open_remote
from pipeline.cache.store import Store
from pipeline.cli import common
from pipeline.cli.common import DEFAULT_CONFIG, Config, Json
from pipeline.config.load import load
from pipeline.errors import StoreError, UsageError
from pipeline.project import home_of
from pipeline.screen import formatting
from pipeline.sweep.stores import sweep_store

Place = Annotated[
    str | None,
    typer.Argument(
        metavar="[URL|DIR]",
        help="s3://BUCKET/PATH, a URL of gs, az, sftp, https or file, or a folder that others can "
        "reach; absent: cache.remote of the settings file.",
        show_default=False,
    ),
]
Keep = Annotated[int, typer.Option(min=1, help="Entries to keep of each stage, the newest.")]
Unfinished = Annotated[
    bool, typer.Option("--unfinished", help="Also remove unfinished stages and their checkpoints.")
]
OverwriteThere = Annotated[
    bool, typer.Option("--overwrite", help="Also copy those that it has, as where one is damaged.")
]


def _store(config: Path) -> Store:
    store = Store(home_of(config))
    store.check_layout()
    return store


def ls(config: Config = DEFAULT_CONFIG, *, as_json: Json = False) -> None:
    """List the stored stages."""
    records = []
    for path, lookup in _store(config).entries():
        stored = lookup.entry.record if lookup.entry else None
        record: dict[str, Any] = {
            "stage": path.parent.name,
            "key": path.name,
            "created_utc": stored.created_utc if stored else None,
            "bytes": sum(file.bytes for file in stored.outputs.values()) if stored else None,
            "damage": lookup.damage,
        }
        records.append(record)
    if as_json:
        common.write_json(records)
        return
    if not records:
        common.write("nothing stored")
        return
    rows = []
    for record in records:
        state = record["damage"] or formatting.size(record["bytes"])
        rows.append((record["stage"], record["key"], record["created_utc"] or "damaged", state))
    common.write_columns(rows)


def verify(config: Config = DEFAULT_CONFIG) -> None:
    """Read every byte of every stored stage and compare it with its record."""
    damaged = []
    entries = list(_store(config).entries())
    for path, lookup in entries:
        damage = damage_of(lookup.entry) if lookup.entry else lookup.damage
        if damage:
            damaged.append(path)
            common.write(f"damaged  {path}: {damage}")
    common.write(f"{len(entries)} entries read, {len(damaged)} damaged")
    if damaged:
        wrong = f"is damaged ({len(damaged)} entries)"
        raise StoreError(str(damaged[0]), wrong, "madpipe run all makes it anew")


def gc(config: Config = DEFAULT_CONFIG, keep: Keep = 3, *, unfinished: Unfinished = False) -> None:
    """Remove damaged entries, and all but the newest of each stage (--keep)."""
    store = _store(config)
    with contextlib.ExitStack() as on:
        # Between its jobs a sweep lets go of the working folder, whose entries it goes on to need.
        if (jobs := sweep_store(store)).lock_path.exists():
            on.enter_context(write_lock(jobs, command="cache gc", on_unnamed=common.write_note))
        removed, freed = sync.collect_garbage(
            store, keep=keep, unfinished=unfinished, on_note=common.write_note
        )
    common.write(f"removed {removed} folders, {formatting.size(freed)}")


def push(
    place: Place = None, config: Config = DEFAULT_CONFIG, *, overwrite: OverwriteThere = False
) -> None:
    """Copy the stored stages that a shared cache lacks to it, for other machines to pull."""
    store, remote = _store(config), _remote(place, config)
    copied = remote.push(store, overwrite=overwrite)
    common.write(f"copied {copied} entries to {remote.name}")


def pull(place: Place = None, config: Config = DEFAULT_CONFIG) -> None:
    """Copy the stored stages that are missing here from a shared cache, checking every byte."""
    store, remote = _store(config), _remote(place, config)
    copied = remote.pull(store)
    common.write(f"copied {copied} entries from {remote.name}")


def _remote(place: str | None, config: Path) -> Remote:
    """Return the shared cache that the command line names, or else the settings.

    Raises:
        ConfigError: The settings are wrong.
        UsageError: Neither names one, or nothing opens the URL.
    """
    if place is not None:
        return open_remote(place)
    named = load(config).cache.remote
    if named is None:
        wrong = f"names no place, nor does {config} (cache.remote is absent)"
        raise UsageError("command line", wrong, "name a URL or a folder, or set cache.remote")
    return open_remote(named, config.resolve().parent)

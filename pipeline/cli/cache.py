"""Commands that look after the store: cache ls, verify, gc, push, pull."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cache import sync
from pipeline.cache.store import Store, damage_of
from pipeline.cli import common
from pipeline.cli.common import DEFAULT_CONFIG, Config, Json
from pipeline.errors import StoreError
from pipeline.project import home_of
from pipeline.screen import formatting

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that others can reach.")]
Keep = Annotated[int, typer.Option(min=1, help="Entries to keep of each stage, the newest.")]
Unfinished = Annotated[
    bool, typer.Option("--unfinished", help="Also remove unfinished stages and their checkpoints.")
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
        typer.echo("nothing stored")
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
            typer.echo(f"damaged  {path}: {damage}")
    typer.echo(f"{len(entries)} entries read, {len(damaged)} damaged")
    if damaged:
        wrong = f"is damaged ({len(damaged)} entries)"
        raise StoreError(str(damaged[0]), wrong, "madpipe run all makes it anew")


def gc(config: Config = DEFAULT_CONFIG, keep: Keep = 3, *, unfinished: Unfinished = False) -> None:
    """Remove damaged entries and all but the newest of each stage."""
    removed, freed = sync.collect_garbage(_store(config), keep=keep, unfinished=unfinished)
    typer.echo(f"removed {removed} folders, {formatting.size(freed)}")


def push(folder: Folder, config: Config = DEFAULT_CONFIG) -> None:
    """Copy the stored stages that DIR lacks to it, for other machines to pull."""
    copied = sync.copy_entries(_store(config), Store(folder))
    typer.echo(f"copied {copied} entries to {folder}")


def pull(folder: Folder, config: Config = DEFAULT_CONFIG) -> None:
    """Copy the stored stages that are missing here from DIR, checking every byte."""
    if not folder.is_dir():
        raise StoreError(str(folder), "no such folder", "name the folder that was pushed to")
    store = Store(folder)
    store.check_layout()
    copied = sync.copy_entries(store, _store(config))
    typer.echo(f"copied {copied} entries from {folder}")

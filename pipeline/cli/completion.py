"""What the shell completes: stages, settings, presets and topics. Imports nothing heavy.

typer's own completion calls these with what is typed so far; `madpipe --install-completion` sets it
up for a shell.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import typer

from pipeline import exit_codes
from pipeline.config.presets import PRESETS
from pipeline.config.template import bounds, descriptions
from pipeline.planner import ALL
from pipeline.settings import Settings, Table
from pipeline.texts import whole_number
from stages.catalog import declare

_VARIABLE = "_MADPIPE_COMPLETE"
Item = tuple[str, str]
"""A completion, and what it is."""


def stages(incomplete: str) -> list[str]:
    """Return the stages that begin so."""
    names = [stage.name for stage in declare(Settings(), Path())]
    return [name for name in names if name.startswith(incomplete)]


def stages_or_all(incomplete: str) -> list[str]:
    """Return the stages that begin so, and the word for all of them."""
    return [*([ALL] if ALL.startswith(incomplete) else []), *stages(incomplete)]


def settings(incomplete: str) -> list[Item]:
    """Return `KEY=` of the settings that begin so; of a single one its default, too.

    Two completions with one beginning keep a shell from adding a space after the equals sign.
    """
    keys = {key: item for key, item in _keys(Settings()) if key.startswith(incomplete)}
    items = [(f"{key}=", sentence) for key, (_, sentence) in keys.items()]
    if len(keys) == 1:
        ((key, (default, _)),) = keys.items()
        items.append((f"{key}={default}", "the default"))
    return items


def presets(incomplete: str) -> list[str]:
    """Return the presets that begin so."""
    return [name for name in PRESETS if name.startswith(incomplete)]


def commands(group: object) -> Mapping[str, Any]:
    """Return the commands of a group, such as the whole command line, by their names."""
    listed: Mapping[str, Any] = getattr(group, "commands", {})
    return listed


def topics(context: typer.Context, incomplete: str) -> list[Item]:
    """Return what `madpipe help` explains and begins so."""
    group = context.find_root().command
    listed = [(name, command.get_short_help_str()) for name, command in commands(group).items()]
    listed += [(str(entry.code), entry.summary) for entry in exit_codes.ALL]
    listed.append(("exit-codes", "all exit codes"))
    return [item for item in listed if item[0].startswith(incomplete)]


def is_of_a_value(environment: Mapping[str, str]) -> bool:
    """Return whether bash asks what goes after `KEY=`, where nothing can be offered.

    Bash makes words of their own of an equals sign and what follows it, so the value would be
    taken for a stage.
    """
    if environment.get(_VARIABLE) != "complete_bash":
        return False
    words = environment.get("COMP_WORDS", "").split("\n")
    current = whole_number(environment.get("COMP_CWORD", "")) or 0
    return "=" in words[max(current - 1, 0) : current + 1]


def _keys(table: Table, parent: str = "") -> Iterator[tuple[str, Item]]:
    """Yield the dotted name, default and sentence of each setting."""
    sentences = descriptions(type(table))
    for field in msgspec.structs.fields(table):
        value = getattr(table, field.name)
        if isinstance(value, Table):
            yield from _keys(value, f"{parent}{field.name}.")
        elif not isinstance(value, dict):
            plain = msgspec.to_builtins(value)
            default = plain if isinstance(plain, str) else json.dumps(plain)
            if value is None:  # absent has no word
                default = ""
            limits = bounds(msgspec.inspect.type_info(field.type))
            sentence = sentences[field.name] + (f" ({limits})" if limits else "")
            yield f"{parent}{field.name}", (default, sentence)

"""pipeline.toml as a text: every key, its default, and a comment with what it is and takes.

Rendered from the settings' declarations, so that there is one place to change. What a field
accepts, in words, serves the fault reports of `pipeline.config.load` as well.
"""

import ast
import itertools
import json
import textwrap
from collections.abc import Mapping
from inspect import getsource
from typing import Any

import msgspec
from msgspec import inspect

from pipeline.gates.measures import CHANGES, COMPARED, MEASURES
from pipeline.settings import Gate, Settings, Table

_WIDTH = 96
_COLUMN = 34
_JOINED = "\0"  # stands for a space at which no line is broken

_HEAD = """\
# Settings of madpipe. Every key is here with its default; units are in the names.
# madpipe plan      shows what a change would run again
# madpipe run all   teacher -> distill -> export -> build -> validate -> gates
"""
_ON_GATES = (
    "Without this table the bounds are those of `madpipe init`; with it, only those that are here. "
    "One key for each bound, MEASURE.min or MEASURE.max; MEASURE.margin says max for a drop; "
    f"MEASURE.confidence is one-sided, {Gate().confidence} where absent; MEASURE.severity is "
    '"error" or "warn". A changed bound measures nothing again. Measures:'
)
_ON_COMPARE = "Bounds of the same kind for madpipe compare A B. Measures:"
_ON_CHANGES = (
    "How much worse B may be than A is bounded by MEASURE.worse_absolute, in the measure's unit, "
    "or by MEASURE.worse_relative, as a share of A's value; below 0 asks for a gain. "
    'MEASURE.direction is "higher-is-better", "lower-is-better" or "no-change" where it is not '
    "the measure's own. "
    "Measures: "
)


def render(settings: Settings) -> str:
    """Return the text of a pipeline.toml that holds `settings`."""
    lines = [_HEAD, *_keys(settings)]
    lines += _gate_table("gates", _ON_GATES, MEASURES, settings.gates)
    lines += _gate_table(
        "compare", _ON_COMPARE, COMPARED, settings.compare, f"{_ON_CHANGES}{', '.join(CHANGES)}"
    )
    return "\n".join(lines) + "\n"


def _keys(table: Table, parent: str = "") -> list[str]:
    """Return the lines of a table's keys, and of the tables in it with their headers."""
    lines, inner_lines = [], []
    declared = inspect.type_info(type(table))
    assert isinstance(declared, inspect.StructType)
    described = descriptions(type(table))
    for field in declared.fields:
        value = getattr(table, field.name)
        if isinstance(value, Table):
            name = f"{parent}{field.name}"
            inner_lines += ["", f"[{name}]", *_comment(type(value).__doc__ or "")]
            inner_lines += _keys(value, f"{name}.")
        elif not isinstance(value, dict):
            comment = described[field.name]
            if limits := bounds(field.type):
                is_short = len(limits) < _WIDTH - _COLUMN - len("# ()")
                comment += f" ({limits.replace(' ', _JOINED) if is_short else limits})"
            setting = f"{field.name} = {_toml(value)}" if value is not None else f"# {field.name} ="
            for line in textwrap.wrap(comment, _WIDTH - _COLUMN - 2):
                lines.append(f"{setting:<{_COLUMN}}# {line.replace(_JOINED, ' ')}")
                setting = ""  # a long comment goes on below its key
    return lines + inner_lines


def _gate_table(
    table: str, words: str, measures: Mapping[str, str], gates: Mapping[str, Gate], more: str = ""
) -> list[str]:
    lines = ["", f"[{table}]", *_comment(words)]
    width = max(map(len, measures))
    lines += [f"#   {name:<{width}} {meaning}" for name, meaning in measures.items()]
    lines += _comment(more)
    for name, gate in gates.items():
        for bound, value in msgspec.to_builtins(gate).items():
            if value is not None and value != getattr(type(gate)(), bound):
                lines.append(f"{name}.{bound} = {_toml(value)}")
    return lines


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()), _WIDTH, initial_indent="# ", subsequent_indent="# "
    )


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def descriptions(kind: type[Table]) -> dict[str, str]:
    """Return the sentence that stands below each field of a table, by the field's name."""
    (declaration,) = ast.parse(getsource(kind)).body
    assert isinstance(declaration, ast.ClassDef)
    sentences = {}
    for field, below in itertools.pairwise(declaration.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(sentence))):
                sentences[name] = " ".join(sentence.split())
            case _:
                pass
    return sentences


def accepted(kind: inspect.Type) -> str:
    """Return what a field accepts: `a number >= 0 and < 1`, `one of 'cpu', 'cuda'`."""
    match kind:
        case inspect.Metadata():
            return accepted(kind.type)
        case inspect.UnionType():
            options = (option for option in kind.types if not isinstance(option, inspect.NoneType))
            return " or ".join(map(accepted, options))
        case inspect.LiteralType():
            return "one of " + ", ".join(f"'{value}'" for value in kind.values)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "an integer" + _bounds(kind)
        case inspect.FloatType():
            return "a number" + _bounds(kind)
        case inspect.StrType():
            return "a text" + (" that is not empty" if kind.min_length else "")
        case inspect.VarTupleType():
            least = " of at least one" if kind.min_length else ""
            if kind.min_length and kind.min_length == kind.max_length:
                least = f" of {kind.min_length}"
            return f"a list{least}, each {accepted(kind.item_type)}"
        case _:
            return "a table"


def bounds(kind: inspect.Type) -> str:
    """Return only the choices or the bounds of a field, for a comment; may be empty."""
    words = accepted(kind)
    for noun in ("an integer", "a number", "a text that is not empty", "a text", "one of "):
        if words.startswith(noun):
            return words.removeprefix(noun).strip()
    return ""


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    signs = ((">", kind.gt), (">=", kind.ge), ("<", kind.lt), ("<=", kind.le))
    words = [
        f"{sign} {bound}" if isinstance(bound, int) else f"{sign} {bound:g}"
        for sign, bound in signs
        if bound is not None
    ]
    if kind.multiple_of is not None:
        words.append(f"a multiple of {kind.multiple_of}")
    return f" {' and '.join(words)}" if words else ""

"""What a settings field accepts, in words, read from its declared type.

Used for fault reports and for the comments of pipeline.toml, never on the way of a good config.
"""

from msgspec import inspect


def description(kind: inspect.Type) -> str:
    """Return the sentence that documents a field, or an empty string."""
    if isinstance(kind, inspect.Metadata):
        extra = kind.extra_json_schema or {}
        return str(extra.get("description", "")) or description(kind.type)
    if isinstance(kind, inspect.UnionType):
        return next(filter(None, map(description, kind.types)), "")
    return ""


def accepted(kind: inspect.Type) -> str:
    """Return what a field accepts: `a number >= 0 and < 1`, `one of 'cpu', 'cuda'`."""
    match kind:
        case inspect.Metadata():
            return accepted(kind.type)
        case inspect.UnionType():
            return " or ".join(
                accepted(each) for each in kind.types if not isinstance(each, inspect.NoneType)
            )
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


def _number(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    signs = ((">", kind.gt), (">=", kind.ge), ("<", kind.lt), ("<=", kind.le))
    words = [f"{sign} {_number(bound)}" for sign, bound in signs if bound is not None]
    if kind.multiple_of is not None:
        words.append(f"a multiple of {kind.multiple_of}")
    return f" {' and '.join(words)}" if words else ""

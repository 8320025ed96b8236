"""The pieces of the campaign by name; each is imported when it is asked for."""

import pkgutil
from collections.abc import Sequence

from benchmarks.reliability.cases import Piece

_WHERE = {
    "kills": "benchmarks.reliability.kills:PIECE",
    "broken-inputs": "benchmarks.reliability.broken_inputs.formats:PIECE",
    "broken-binaries": "benchmarks.reliability.broken_inputs.binary_formats:PIECE",
}
NAMES = tuple(_WHERE)


def load(names: Sequence[str]) -> list[Piece]:
    """Return the pieces of these names.

    Raises:
        SystemExit: There is none of a name.
    """
    for name in names:
        if name not in _WHERE:
            raise SystemExit(f"{name}: no such piece; one of {', '.join(NAMES)}")
    return [pkgutil.resolve_name(_WHERE[name]) for name in names]

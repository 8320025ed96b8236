"""The pieces of the campaign by name; each is imported when it is asked for."""

import pkgutil
from collections.abc import Sequence

from benchmarks.reliability.cases import Piece

_WHERE = {
    "kills": "benchmarks.reliability.kills:KILLS",
    "stops": "benchmarks.reliability.kills:STOPS",
    "many-kills": "benchmarks.reliability.kills:MANY_KILLS",
    "storage-writes": "benchmarks.reliability.storage_writes:PIECE",
    "broken-inputs": "benchmarks.reliability.broken_inputs.formats:PIECE",
    "storage-places": "benchmarks.reliability.storage_places:PIECE",
    "hostile": "benchmarks.reliability.hostile.piece:PIECE",
    "storage-commands": "benchmarks.reliability.storage_commands:PIECE",
    "gc": "benchmarks.reliability.garbage:PIECE",
    "large-store": "benchmarks.reliability.large_store:PIECE",
    "long-run": "benchmarks.reliability.long_run:PIECE",
    "power-cut": "benchmarks.reliability.power_cut.piece:PIECE",
    "processes": "benchmarks.reliability.processes.piece:PIECE",
    "cache-hits": "benchmarks.reliability.cache_hits.piece:PIECE",
    "cache-truth": "benchmarks.reliability.cache_hits.truth:PIECE",
    "engine-child-kills": "benchmarks.reliability.child_kills:ENGINE_CHILD_KILLS",
    "distributed-kills": "benchmarks.reliability.child_kills:DISTRIBUTED_KILLS",
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

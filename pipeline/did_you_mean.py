"""The `did you mean` of every message about an unknown name."""

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` for the known name nearest to `name`, or an empty string."""
    import difflib  # noqa: PLC0415  (only a mistake pays for its import)

    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean '{matches[0]}'?" if matches else ""

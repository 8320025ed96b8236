"""How figures are written for people: one place, so that all screens and reports agree."""

from collections.abc import Mapping
from typing import Any

from pipeline.image_size import size_text

_MINUTE_S = 60
_HOUR_S = 3600
_TENTHS_BELOW_S = 9.95
_KIB = 1024
_LARGE = 1000


def duration(seconds: float) -> str:
    """Return a time as `0.3 s`, `12 s`, `2 min 05 s` or `1 h 02 min`."""
    if seconds < _TENTHS_BELOW_S:
        return f"{seconds:.1f} s"
    if round(seconds) < _MINUTE_S:
        return f"{round(seconds)} s"
    if seconds < _HOUR_S:
        whole = max(_MINUTE_S, int(seconds))
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def number(value: object) -> str:
    """Return a figure with as many digits as a reader needs; sides of images as `96x128`."""
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= _LARGE:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.4g}"


def metrics(values: Mapping[str, Any]) -> str:
    """Return figures as `top1 0.985  params 77 850`."""
    return "  ".join(f"{name} {number(value)}" for name, value in values.items())


def verdict(outcome: str, severity: str) -> str:
    """Return a gate's verdict, and that it only warns where it does."""
    warns = severity == "warn" and outcome in {"fail", "inconclusive"}
    return f"warn: {outcome}" if warns else outcome


def size(count: int) -> str:
    """Return a count of bytes as `312 KiB`."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < _KIB:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _KIB
    return f"{amount:.2f} GiB"


def progress_figures(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a progress event shows beside its count."""
    return {name: value for name, value in fields.items() if name not in {"done", "total", "unit"}}


def estimate(fields: Mapping[str, Any]) -> str:
    """Return what an `estimate` event says, as a sentence."""
    stages = fields["stages"]
    parts = ", ".join(
        f"{name} {'unknown' if seconds is None else duration(seconds)}"
        for name, seconds in stages.items()
    )
    if fields["seconds"] is None:
        is_known = any(seconds is not None for seconds in stages.values())
        some = f" ({parts})" if is_known else ""
        return f"unknown time and memory{some}; madpipe run all --smoke measures them"
    memory = fields["memory_bytes"]
    room = "" if memory is None else f" and {size(memory)} of memory"
    return f"about {duration(fields['seconds'])}{room} ({parts})"


def step_memory(fields: Mapping[str, Any]) -> str:
    """Return what training steps will hold, from the fields of a plan's record, as a sentence."""
    if "unknown" in fields:
        return f"unknown: {fields['unknown']}"
    size_px, fitting_px = (
        size_text(fields[name]) for name in ("image_size_px", "fitting_image_size_px")
    )
    images, bound = fields["images"], size(fields["bound_bytes"])
    begin = f"about {size(fields['step_bytes'])} in steps of {images} images of {size_px} px"
    if fields["step_bytes"] > fields["bound_bytes"]:
        begin += f" ({size(fields['available_bytes'])} are here)"
    room = f"{fields['fitting_images']} of them, or {images} of up to {fitting_px} px"
    remedy = f": set {fields['setting']}" if fields["setting"] else ""
    return f"{begin}; {bound} hold {room if fields['fitting_images'] else 'none of them'}{remedy}"

"""export, build and validate on files from anywhere, without a pipeline around them."""

import importlib
from typing import TYPE_CHECKING, Any

from pipeline import collector

if TYPE_CHECKING:
    from stages.standalone.build_engine import build
    from stages.standalone.export_file import export
    from stages.standalone.validate_engine import validate

__all__ = ["build", "export", "validate"]

_MODULES = {"build": "build_engine", "export": "export_file", "validate": "validate_engine"}


def __getattr__(name: str) -> Any:
    """Import what a command needs, and not what the others need; build does without torch."""
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    with collector.paused():
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)

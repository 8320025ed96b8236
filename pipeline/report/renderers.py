"""The forms of a report, by name."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.report import html, junit, markdown


def _json(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=2)


RENDERERS: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "html": html.render,
    "json": _json,
    "junit": junit.render,
    "markdown": markdown.render,
}


def render(form: str, report: dict[str, Any]) -> str:
    """Return the report in one of the forms."""
    return RENDERERS[form](report)

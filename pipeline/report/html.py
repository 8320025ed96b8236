"""The report as one HTML page that needs no network."""

import base64
from pathlib import Path
from typing import Any

from pipeline.report.overall import overall
from pipeline.screen import words


def render(report: dict[str, Any]) -> str:
    """Return the report as a page: the verdict first, then what it rests on."""
    from jinja2 import Environment, FileSystemLoader  # noqa: PLC0415  (only this form needs it)

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    )
    environment.filters |= {
        "duration": words.duration,
        "figure": words.number,
        "metrics": words.metrics,
        "size": words.size,
    }
    verdict, because = overall(report)
    return environment.get_template("page.html.jinja").render(
        report=report, verdict=verdict, because=because, picture=_picture(report)
    )


def _picture(report: dict[str, Any]) -> str | None:
    """Return the picture of synthetic samples as a data address, None where there is none."""
    for stage in report["stages"]:
        output = stage["outputs"].get("picture")
        if output and Path(output["path"]).is_file():
            content = base64.b64encode(Path(output["path"]).read_bytes()).decode()
            return f"data:image/png;base64,{content}"
    return None

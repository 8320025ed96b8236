"""Commands for CI systems: baseline keeps what a later run is compared with, comment writes."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import common
from pipeline.cli.common import DEFAULT_CONFIG, Config, Set
from pipeline.errors import MadpipeError, StoreError

_NUMBER = typer.Option(min=1, help="Its number; without it that of the workflow's event.")
_KEY = typer.Option(help="Tells the comments of several jobs apart; by default workflow and job.")
_TIMEOUT = typer.Option("--timeout-s", min=0.1, help="Longest wait for each answer, in seconds.")


def baseline(
    folder: Annotated[Path, typer.Argument(help="Where to keep it.")],
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
) -> None:
    """Keep what compare needs of the last run: report.json, measurements.json and samples.json."""
    from pipeline.report.baseline import keep  # noqa: PLC0415  (only this command)

    common.write(os.fspath(keep(common.open_last_run(config, set_), folder)))


def comment(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Markdown to show.")],
    pull_request: Annotated[int | None, _NUMBER] = None,
    key: Annotated[str | None, _KEY] = None,
    timeout_s: Annotated[float, _TIMEOUT] = 20.0,
) -> None:
    """Write Markdown into one comment on a GitHub pull request, and update that one from then on.

    Reads GITHUB_API_URL, GITHUB_REPOSITORY, GITHUB_TOKEN and GITHUB_EVENT_PATH.
    """
    from pipeline.report import comment as comments  # noqa: PLC0415  (only this command)
    from pipeline.report import github  # noqa: PLC0415

    key = key or "/".join(os.environ.get(name, "") for name in ("GITHUB_WORKFLOW", "GITHUB_JOB"))
    try:
        place = comments.pull_request(os.environ, pull_request)
        body = comments.body_of(key, [_text(path) for path in files])
        common.write(comments.put(place, key, body, timeout_s))
    except MadpipeError as error:
        if os.environ.get("GITHUB_ACTIONS") == "true":
            sys.stderr.write(github.annotation("warning", "no comment", str(error)) + "\n")
        raise


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "madpipe report --format markdown --out FILE"
        raise StoreError(str(path), f"is no text that can be read ({error})", remedy) from error

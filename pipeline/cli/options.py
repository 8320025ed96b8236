"""Options that several commands share, so that they are called and explained alike."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Config = Annotated[
    Path, typer.Option("--config", help="The settings file.", show_default="pipeline.toml")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. distill.rounds=200."),
]
Force = Annotated[
    list[str] | None,
    typer.Option("--force", metavar="STAGE", help="Run this stage although it is stored; or all."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]
Inconclusive = Annotated[
    Literal["pass", "fail"] | None,
    typer.Option(help="Take a gate that cannot decide as passed or failed, instead of exit 4."),
]
Out = Annotated[Path | None, typer.Option("--out", help="Where to write.")]

DEFAULT_CONFIG = Path("pipeline.toml")

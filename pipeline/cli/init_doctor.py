"""Commands to begin with: init and doctor."""

from typing import Annotated

import typer

from pipeline.cli import common, completion
from pipeline.cli.common import DEFAULT_CONFIG, Config, Json, Overwrite
from pipeline.config import template
from pipeline.config.presets import PRESETS
from pipeline.errors import UsageError, did_you_mean

Preset = Annotated[
    str,
    typer.Option(help=f"One of {', '.join(PRESETS)}.", autocompletion=completion.presets),
]


def init(
    preset: Preset = "digits", config: Config = DEFAULT_CONFIG, *, overwrite: Overwrite = False
) -> None:
    """Write a commented pipeline.toml."""
    if preset not in PRESETS:
        wrong = f"no such preset{did_you_mean(preset, PRESETS)} ({preset})"
        raise UsageError("--preset", wrong, f"name one of {', '.join(PRESETS)}")
    if config.exists() and not overwrite:
        raise UsageError(str(config), "is already there", "give --overwrite or another --config")
    common.write_file(config, template.render(PRESETS[preset]), remedy="give another --config")
    common.write(f"wrote {config}; next: madpipe run all")


def doctor(config: Config = DEFAULT_CONFIG, *, as_json: Json = False) -> None:
    """Show what this machine can and cannot do, with the fix for each lack."""
    from stages.doctor import examine  # noqa: PLC0415  (it imports what it examines)

    findings = examine(common.working_folder(config))
    if as_json:
        common.write_json([finding._asdict() for finding in findings])
        return
    for finding in findings:
        common.write(f"{finding.state:<7} {finding.name:<22} {finding.detail}")
        if finding.fix:
            common.write(f"{'':<7} {'':<22} fix: {finding.fix}")

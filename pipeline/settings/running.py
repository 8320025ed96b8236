"""The table [run]: how to run."""

from typing import Annotated

from msgspec import Meta

from pipeline.settings.kinds import Table, Weight


class Run(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to run, none of which changes a result or is part of a key."""

    checkpoint_every_s: Annotated[
        Weight, Meta(description="seconds between checkpoints of teacher and distill")
    ] = 15.0
    lock_wait_s: Annotated[
        Weight, Meta(description="how long to wait for another process on the working folder")
    ] = 3600.0

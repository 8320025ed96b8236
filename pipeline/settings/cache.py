"""The table [cache]."""

from typing import Literal

from pipeline.settings.kinds import Name, Table


class Cache(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cache that machines share. It changes no result and is part of no key."""

    remote: Name | None = None
    """where it is: a URL such as "s3://bucket/path", or of gs, az, sftp, https or file, or a
    folder relative to this file; absent: none"""
    pull: Literal["auto", "off"] = "auto"
    """whether a run looks there before it computes a stage"""
    push: bool = False
    """copy what a run computed to it"""

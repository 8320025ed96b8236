"""The table [bank]."""

from pipeline.settings.kinds import Table


class Bank(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The synthetic images that distill leaves for checks and calibration."""

    keep: bool = True
    """whether synthetic images stay in stored runs and reports; false: none does, and export, build
    and validate draw the same ones again from the stored generators"""

"""What a stage needs of the machine, checked before anything runs and not hours later."""

from dataclasses import dataclass
from typing import Protocol

from pipeline import machine
from pipeline.errors import UnavailableError


class Requirement(Protocol):
    """Something that must be present for a stage to run."""

    def check(self) -> None:
        """Make sure that it is there.

        Raises:
            MadpipeError: It is not; UnavailableError where it is the machine that lacks it.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsGpu:
    """An NVIDIA GPU, because the named setting asks for one."""

    setting: str

    def check(self) -> None:
        """Raise UnavailableError where no driver reports a GPU."""
        if not machine.gpus():
            wrong = "asks for an NVIDIA GPU and none is here (the driver reports none)"
            remedy = 'use device "cpu", or install the NVIDIA driver; see madpipe doctor'
            raise UnavailableError(self.setting, wrong, remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsModule:
    """An importable package, because the named setting asks for what it does."""

    setting: str
    module: str
    install: str

    def check(self) -> None:
        """Raise UnavailableError where the module cannot be found; it is not imported."""
        if not machine.has_module(self.module):
            wrong = f"needs a package that is not installed ({self.module})"
            raise UnavailableError(self.setting, wrong, f"run {self.install}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """What this version cannot do on any machine; says why, and what to do instead."""

    setting: str
    wrong: str
    remedy: str

    def check(self) -> None:
        """Raise UnavailableError."""
        raise UnavailableError(self.setting, self.wrong, self.remedy)

"""The two editions of TensorRT: their names, and how their module is imported."""

import importlib
from types import ModuleType
from typing import NamedTuple

from pipeline.errors import UnavailableError, first_line
from stages.engines.base import BACKENDS

_MIN_MAJOR = 10


class Edition(NamedTuple):
    """An edition by its backend's name and its name in messages."""

    backend: str
    title: str

    def module(self) -> ModuleType:
        """Import the edition's bindings.

        Raises:
            UnavailableError: They or their native libraries are not here, or are too old.
        """
        info = BACKENDS[self.backend]
        try:
            module = importlib.import_module(info.needs)
        except (ImportError, OSError, RuntimeError) as error:
            raise UnavailableError(
                "build.backend",
                f"{self.title} does not load ({first_line(error)})",
                f"run {info.install}",
            ) from error
        if self is STANDARD and int(module.__version__.split(".")[0]) < _MIN_MAJOR:
            raise UnavailableError(
                "build.backend", f"{self.title} is too old ({module.__version__})", info.install
            )
        return module


STANDARD = Edition("tensorrt", "TensorRT")
RTX = Edition("tensorrt-rtx", "TensorRT-RTX")
EDITIONS = {edition.backend: edition for edition in (STANDARD, RTX)}

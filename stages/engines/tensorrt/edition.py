"""The two editions of TensorRT: what they are called, and how their module is had."""

import importlib
from types import ModuleType
from typing import NamedTuple

from pipeline.errors import UnavailableError, first_line
from stages.engines.base import BACKENDS

_LEAST_MAJOR = 10


class Edition(NamedTuple):
    """An edition by its backend's name and the name that people know it by."""

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
        if self is STANDARD and int(module.__version__.split(".")[0]) < _LEAST_MAJOR:
            raise UnavailableError(
                "build.backend", f"{self.title} is too old ({module.__version__})", info.install
            )
        return module


STANDARD = Edition("tensorrt", "TensorRT")
RTX = Edition("tensorrt-rtx", "TensorRT-RTX")
EDITIONS = {each.backend: each for each in (STANDARD, RTX)}

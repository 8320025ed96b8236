"""Python's collector of unreachable objects, which looks at everything that there is."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Collect nothing while a lot is made that stays, such as the modules of an import.

    A fifth of the time to import torch's exporter is looking at what stays.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

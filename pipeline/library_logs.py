"""What libraries log is kept off the screen where their errors and results say it all."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def switched_off(up_to: int = logging.CRITICAL) -> Iterator[None]:
    """Drop the log records of all libraries, of the level `up_to` and below it, for a while."""
    before = logging.root.manager.disable
    logging.disable(max(before, up_to))
    try:
        yield
    finally:
        logging.disable(before)

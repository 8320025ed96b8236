"""Under torchrun: rank 0 is the command, the other ranks are workers of its distillation.

    torchrun --nproc-per-node 8 --no-python madpipe distill

Without torchrun nothing here imports anything.
"""

import contextlib
import os
from collections.abc import Iterator


def world_size() -> int | None:
    """Return how many processes torchrun started, None where it did not start this one."""
    is_started = "TORCHELASTIC_RUN_ID" in os.environ
    return int(os.environ.get("WORLD_SIZE", "1")) if is_started else None


def is_worker() -> bool:
    """Return whether torchrun started this process as another rank than the first."""
    return world_size() is not None and os.environ.get("RANK", "0") != "0"


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Let no signal of torchrun end rank 0 before it has reported why the run failed.

    Where another rank is lost, torchrun sends SIGTERM to all that are left, so that rank 0 gets it
    while it still writes the record and the error of what it has noticed by itself.
    """
    if world_size() is None:
        yield
        return
    from pipeline.signals import stop_on_signals  # noqa: PLC0415

    with stop_on_signals():
        yield


@contextlib.contextmanager
def workers_released() -> Iterator[None]:
    """Let the other ranks go at the end, also where the distillation was a hit or failed."""
    try:
        yield
    finally:
        if world_size() is not None:
            from stages.distill.distributed import worker  # noqa: PLC0415

            worker.release()

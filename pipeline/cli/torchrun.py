"""Under torchrun: rank 0 is the command, the other ranks play along in its distillation.

    torchrun --nproc-per-node 8 --no-python madpipe distill

Without torchrun nothing here imports anything.
"""

import contextlib
import os
from collections.abc import Iterator

_STARTED_BY_TORCHRUN = "TORCHELASTIC_RUN_ID"


def size() -> int | None:
    """Return how many processes torchrun started, None where it did not start this one."""
    if _STARTED_BY_TORCHRUN not in os.environ:
        return None
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_helper() -> bool:
    """Tell whether torchrun started this process as another rank than the first."""
    return size() is not None and os.environ.get("RANK", "0") != "0"


def help_out() -> None:
    """Play along until rank 0 has done, or leave at once where it has nothing to play."""
    from stages.distill.distributed import worker  # noqa: PLC0415  (torch, for this process alone)

    worker.main()


@contextlib.contextmanager
def helpers_released() -> Iterator[None]:
    """Let the other ranks go at the end, also where the distillation was a hit or failed."""
    try:
        yield
    finally:
        if size() is not None:
            from stages.distill.distributed import worker  # noqa: PLC0415

            worker.release()

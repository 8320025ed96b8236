"""An engine that is open in this process, once new ones have measured its first inference."""

from pathlib import Path
from typing import NamedTuple

import torch

from pipeline.gates import measurements as records
from pipeline.gates.build_records import EngineManifest
from pipeline.settings import Validate
from pipeline.stage import OnNote
from stages import machine_load
from stages.data.images import Images
from stages.engines import first_inference
from stages.engines.open_engine import open_engine
from stages.validate.latency import Engine


class Opened(NamedTuple):
    """An engine that was opened here, and what that took."""

    engine: Engine
    first: records.FirstInference | None
    resident_bytes: int | None
    """What the process grew by; None where it did not, as where freed memory was taken again."""


def opened(
    manifest: EngineManifest,
    path: Path,
    images: Images,
    options: Validate,
    *,
    cache: Path | None,
    on_note: OnNote,
) -> Opened:
    """Return an engine that is open; `on_note` gets what is to be known of that.

    The new processes come first, so that an engine that crashes its runtime does so in one of them.
    Errors are those of `first_inference.measure` and `open_engine`.
    """
    first = first_inference.measure(
        manifest,
        path,
        images.batch(torch.arange(1), torch.device("cpu")).shape,
        threads=options.threads,
        runs=options.first_runs,
    )
    before_bytes = machine_load.resident_bytes()
    session = open_engine(manifest, path, threads=options.threads, cache=cache)
    grown_bytes = machine_load.resident_bytes() - before_bytes
    for note in session.notes:
        on_note(note)
    return Opened(Engine(manifest, path, session), first, grown_bytes if grown_bytes > 0 else None)

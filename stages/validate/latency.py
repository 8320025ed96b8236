"""Latency of teacher, the teacher as an engine, and the engine, as the measurements hold it."""

from pathlib import Path
from typing import Any

import torch

from models.classifier import Classifier
from pipeline.settings import Validate
from stages.data.images import Images
from stages.networks.card import Card
from stages.validate import machine_load, reference, rounds
from stages.validate.open_engine import Engine


def measure(
    teacher: Classifier,
    card: Card,
    engine: Engine,
    shown: Images,
    options: Validate,
    *,
    opset: int,
    files: tuple[Path, Path | None],
    folder: Path,
    tell: rounds.Tell = lambda done, total: None,  # noqa: ARG005
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure teacher, its engine and the engine at each batch size; return records and samples.

    Args:
        teacher: The teacher in torch.
        card: What it is; used to export it.
        engine: The engine to judge.
        shown: Images to run.
        options: How to measure.
        opset: ONNX operator set for the teacher's engine.
        files: The teacher's weights and code, for fresh processes.
        folder: A folder for the teacher's engine.
        tell: Called with done and total.

    Raises:
        StageError: An engine cannot be run.
    """
    built, absent = None, None
    if options.teacher_engine:
        try:
            built = reference.build(teacher, card, engine.manifest, folder, opset=opset)
        except reference.CannotBuild as error:
            absent = str(error)
    parts = rounds.Files(
        teacher=files[0],
        teacher_code=files[1],
        backend=engine.manifest.backend,
        device=engine.manifest.device,
        engine=engine.path,
        teacher_engine=built,
    )
    watch = machine_load.Watch()
    found = _times(teacher, engine, shown, options, parts=parts, tell=tell)
    watched = watch.record()
    names = rounds.names(has_teacher_engine=built is not None)
    record, samples = rounds.record(found, names, watched, options)
    about: dict[str, Any] = {
        "threads": options.threads,
        "device": engine.manifest.device,
        "processes": options.processes,
        "conditions": watched,
    }
    if absent:
        about["teacher_engine_absent"] = absent
    raw = {"unit": "ms", "processes": options.processes, "batches": samples}
    return about | record, raw


def _times(
    teacher: Classifier,
    engine: Engine,
    shown: Images,
    options: Validate,
    *,
    parts: rounds.Files,
    tell: rounds.Tell,
) -> list[rounds.Times]:
    """Return what each process measured, one list entry a process."""
    cpu = torch.device("cpu")
    images_BCHW = {
        batch: shown.batch(torch.arange(batch) % len(shown.y_N), cpu).contiguous().numpy()
        for batch in options.batch_sizes
    }
    if options.processes > 1:
        return rounds.measure_afresh(parts, images_BCHW, options, tell)
    sides = rounds.Sides(
        teacher=teacher,
        engine=engine.session,
        teacher_engine=parts.open_teacher_engine(options.threads),
    )
    here = rounds.measure(
        sides, images_BCHW, options, device=parts.device, rounds=options.pairs, tell=tell
    )
    return [here]

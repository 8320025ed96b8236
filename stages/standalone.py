"""export, build and validate on files from anywhere, without a pipeline around them."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from torch import Tensor

from models import registry
from pipeline.cache.keys import file_sha256
from pipeline.errors import StageError, UsageError, did_you_mean
from pipeline.gates import measurements as records
from pipeline.gates.build_records import EngineManifest
from pipeline.gates.measurements import Measurements
from pipeline.paths import expanded
from pipeline.preprocessing import Preprocessing
from pipeline.settings import Build, Data, Export, Validate
from pipeline.stage import OnNote, no_note
from stages.build import stage as build_stage
from stages.data.datasets import SPECS
from stages.data.images import Images
from stages.data.images import load as load_dataset
from stages.engines import compatibility, selection
from stages.engines.base import (
    AUTO,
    BACKENDS,
    MANIFEST_FILE,
    VALIDATION_FILE,
    OnProgress,
    no_progress,
)
from stages.engines.open_engine import check_folder, read_folder
from stages.export import stage as export_stage
from stages.networks import card as cards
from stages.networks import factory, weights
from stages.networks.card import Card
from stages.networks.describe import IN_THE_GRAPH, OPTIONS, Facts, card_for
from stages.validate import stage as validate_stage
from stages.validate.images import bank_images, check_images
from stages.validate.latency import Teacher

_CHECK_IMAGES = 64
_BANK = "bank:"
_TABLE = "candidates.json"
_NO_FACTS = Facts()
_UNKNOWN_RANGE = (
    "warning: the ONNX file does not say what range its images have: assumed floats in [0, 1], or "
    "bytes as decoded, that it normalises itself; if it takes others, put that step into the graph"
)


def export(
    student: Path,
    out: Path,
    facts: Facts = _NO_FACTS,
    *,
    is_strict: bool = False,
    options: Export | None = None,
    on_note: OnNote = no_note,
) -> dict[str, Any]:
    """Write the network of a weights file as ONNX; return what was identified and checked.

    Args:
        student: The weights file.
        out: The ONNX file to write.
        facts: What the options say of the network; the rest is the usual for its architecture.
        is_strict: Refuse to assume what goes into the graph.
        options: The table [export].
        on_note: Gets a line for each assumption.

    Raises:
        StageError: The file is no weights file, fits no architecture, or the export is wrong.
        UsageError: Options contradict the file, or something would be assumed that must not be.
    """
    options = options or Export()
    tensors = weights.read(student, "--student")
    card = card_for(student, tensors, facts)
    report_assumptions(card, OPTIONS, on_note, is_strict=is_strict)
    network = factory.restore(
        card,
        tensors,
        code=registry.source_file(card.arch),
        arch_place="--arch",
        weights_place="--student",
        on_note=on_note,
    )
    shape = (_CHECK_IMAGES, card.channels, card.image_size_px, card.image_size_px)
    random_NCHW = np.random.default_rng(0).random(shape, dtype=np.float32)
    checked = export_stage.export(
        network,
        card,
        out,
        options=options,
        opset=options.opset or BACKENDS[AUTO].opset,
        images_NCHW=random_NCHW,
        student_sha256=file_sha256(student),
    )
    for note in checked.notes:
        on_note(note)
    return {
        "arch": card.arch,
        "classes": card.num_classes,
        "image_size_px": card.image_size_px,
        "max_logit_difference": checked.max_logit_difference,
        "preprocessing": msgspec.to_builtins(card),
    }


def report_assumptions(
    preprocessing: Preprocessing,
    options: Mapping[str, str],
    on_note: OnNote,
    *,
    is_strict: bool = False,
) -> None:
    """Pass on a line for each value that nobody said, with its option in `options`.

    Raises:
        UsageError: Some of them go into the graph, and they must not be assumed.
    """
    lines = preprocessing.assumptions(options)
    decisive = [name for name in preprocessing.assumed if name in IN_THE_GRAPH]
    if decisive and is_strict:
        names = ", ".join(options.get(name, name) for name in decisive)
        raise UsageError(
            "--strict",
            f"nobody said what goes into the graph ({'; '.join(lines)})",
            f"give {names}",
        )
    for line in lines:
        on_note(line)


def build(
    onnx: Path,
    folder: Path,
    options: Build,
    calibration: Path | None = None,
    *,
    on_note: OnNote = no_note,
    on_progress: OnProgress = no_progress,
) -> EngineManifest:
    """Build an engine and its manifest into a folder.

    Args:
        onnx: The fp32 file.
        folder: Where to write.
        options: Backend, device and precision.
        calibration: Images for int8, fp8 and `auto`; None: `auto` is the backend's default.
        on_note: Gets what was changed in the file, and how far engines are from it.
        on_progress: Gets how far the build is.

    Raises:
        StageError: The ONNX file is unsound or the backend cannot use it.
        UnavailableError: The machine lacks what the options name.
        UsageError: A target is no architecture that the backend builds for, or the folder holds
            files of another program.
    """
    if wrong := selection.unsupported_target(options):
        raise UsageError("--target", wrong.wrong, wrong.remedy)
    for requirement in selection.requirements(options):
        requirement.check()
    is_measured = calibration is not None and selection.is_chosen_by_measuring(options)
    if is_measured:
        file = selection.engine_file(options)
    else:
        file = BACKENDS[selection.backend_name(options)].engine_file
    check_folder(folder, (file, MANIFEST_FILE, _TABLE))
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        manifest, candidates = build_stage.build(
            onnx,
            folder / file,
            folder / MANIFEST_FILE,
            options,
            calibration_path=calibration,
            on_note=on_note,
            on_progress=on_progress,
        )
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    # What was measured of an engine that was there before describes another engine.
    for name in (_TABLE, VALIDATION_FILE):
        (folder / name).unlink(missing_ok=True)
    if manifest.preprocessing and not manifest.preprocessing.mean:
        on_note(_UNKNOWN_RANGE)
    if is_measured:
        records.write(folder / _TABLE, candidates)
    return manifest


def validate(
    folder: Path,
    teacher: Path,
    data: str,
    options: Validate,
    facts: Facts = _NO_FACTS,
    *,
    on_note: OnNote = no_note,
    on_progress: OnProgress = no_progress,
) -> Measurements:
    """Measure an engine against a teacher on a source of images, and store that beside it.

    Images are read as the engine's manifest says. `facts` is what options say of the teacher; for
    the rest it is taken to be like the engine. `on_note` gets what was assumed and left out,
    `on_progress` how far it is.

    Raises:
        StageError: A file is missing, damaged or does not fit.
        UsageError: The data specification names no source, or options contradict the teacher.
    """
    source = None if data.startswith(_BANK) else _source(data)
    manifest, path = read_folder(folder, "--engine")
    tensors = weights.read(teacher, "--teacher")
    card = _teacher_card(teacher, tensors, facts, manifest, on_note)
    code = registry.source_file(card.arch)
    network = factory.restore(
        card,
        tensors,
        code=code,
        arch_place="--teacher",
        weights_place="--teacher",
        on_note=on_note,
    )
    if source is None:
        images = bank_images(Path(data.removeprefix(_BANK)), card)
    else:
        images = _held_out(_read_as(manifest.preprocessing or card, source), card, on_note)
    compatibility.check(manifest)
    measurements, _ = validate_stage.measure(
        Teacher(network=network, card=card, code=code),
        manifest,
        path,
        images,
        options,
        logits={},
        kind="held-out" if source else "bank",
        opset=BACKENDS[manifest.backend].opset,
        on_progress=on_progress,
    )
    records.write(folder / VALIDATION_FILE, measurements)
    return measurements


def _held_out(source: Data, card: Card, on_note: OnNote) -> Images:
    """Return the held-out images of a source, which fit the card."""
    dataset = load_dataset(source, Path(source.root), known_classes=card.classes)
    for note in dataset.notes:
        on_note(note)
    images = dataset.held_out
    if source.source == "folder":
        on_note(
            f"measured on the {len(images)} held-out images; {len(dataset.train)} others are "
            "not used (the folder train, or where no part is named a fixed draw of each class)"
        )
    check_images(images, card)
    return images


def _teacher_card(
    path: Path,
    tensors: Mapping[str, Tensor],
    facts: Facts,
    manifest: EngineManifest,
    on_note: OnNote,
) -> Card:
    """Return the card of a teacher; what neither it nor `facts` says is as for the engine."""
    engine = manifest.preprocessing
    if cards.read(path) is None and engine is not None:
        facts = facts._replace(
            image_size_px=engine.image_size_px,
            mean=facts.mean or engine.mean or None,
            std=facts.std or engine.std or None,
            resize_px=engine.resize_px or engine.image_size_px,
            interpolation=engine.interpolation,
        )
        if engine.num_classes and "classes" not in engine.assumed:
            facts = facts._replace(classes=engine.classes)
    try:
        card = card_for(path, tensors, facts)
    except StageError:
        arch = manifest.signature.arch if manifest.signature else ""
        if facts.arch or not arch:
            raise
        card = card_for(path, tensors, facts._replace(arch=arch))
    report_assumptions(card, {"mean": "--mean", "std": "--std"}, on_note)
    return card


def _read_as(preprocessing: Preprocessing, source: Data) -> Data:
    """Return the settings of a source whose images are to be read so."""
    channels = preprocessing.channels
    digits = SPECS["digits"]
    if source.source == "digits" and (channels, preprocessing.image_size_px) != (
        digits.channels,
        digits.image_size_px,
    ):
        size = " x ".join(map(str, (channels, *preprocessing.size_px)))
        raise UsageError(
            "--data",
            f"is digits, which are 1 x 8 x 8, and the engine takes {size}",
            "name its images: SOURCE:FOLDER such as folder:images, or bank:FILE.npz",
        )
    # A set of its own way to scale keeps it where nobody said another.
    is_usual = "resize_px" in preprocessing.assumed and source.source != "folder"
    return msgspec.structs.replace(
        source,
        image_size_px=preprocessing.image_size_px,
        mean=preprocessing.mean or (0.0,) * channels,
        std=preprocessing.std or (1.0,) * channels,
        resize_px=None if is_usual else preprocessing.resize_px or preprocessing.image_size_px,
        interpolation=preprocessing.interpolation,
    )


def _source(data: str) -> Data:
    """Return the settings of `digits` or `SOURCE:FOLDER`."""
    source, _, folder = data.partition(":")
    if source not in SPECS or (source != "digits" and not folder):
        raise UsageError(
            "--data",
            f"names no source of images{did_you_mean(source, SPECS)} ({data})",
            f"give digits, bank:FILE.npz, or SOURCE:FOLDER with one of {', '.join(SPECS)}",
        )
    root = str(expanded(folder or "data"))
    return msgspec.convert({"source": source, "root": root}, Data)

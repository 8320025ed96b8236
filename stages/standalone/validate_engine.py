"""An engine from anywhere, measured against a teacher from anywhere."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec
from torch import Tensor

from models import registry
from pipeline.errors import StageError, UsageError, did_you_mean
from pipeline.gates import measurement_files
from pipeline.gates.build_records import EngineManifest
from pipeline.gates.measurements import Measurements
from pipeline.image_size import sides_px, size_text
from pipeline.paths import expanded
from pipeline.preprocessing import Origin, Preprocessing
from pipeline.settings import Data, Validate
from pipeline.stage import OnNote, no_note
from stages.data.datasets import SPECS
from stages.data.images import Images
from stages.data.images import load as load_dataset
from stages.data.tree import some
from stages.engines import compatibility
from stages.engines.base import (
    BACKENDS,
    RUNTIME_CACHE_FOLDER,
    VALIDATION_FILE,
    OnProgress,
    no_progress,
)
from stages.engines.open_engine import read_folder
from stages.networks import card as cards
from stages.networks import weights
from stages.networks.card import Card
from stages.networks.describe import card_for, statistics_of
from stages.networks.facts import Facts
from stages.onnxgraph import limits
from stages.standalone import remarks
from stages.standalone.assumptions import check_recorded, naming_options, report_assumptions
from stages.standalone.restore import restore
from stages.validate import stage as validate_stage
from stages.validate.images import bank_images, check_images
from stages.validate.latency import Teacher

_BANK = "bank:"
_NO_FACTS = Facts()


def validate(
    folder: Path,
    teacher: Path,
    data: str,
    options: Validate,
    facts: Facts = _NO_FACTS,
    *,
    classes_file: Path | None = None,
    is_strict: bool = False,
    on_note: OnNote = no_note,
    on_progress: OnProgress = no_progress,
) -> Measurements:
    """Measure an engine against a teacher on a source of images, and store that beside it.

    Images are read as the engine's manifest says. `facts` is what options say of the teacher; for
    the rest it is taken to be like the engine, unless `is_strict` forbids to assume it.
    `classes_file` names the teacher's classes in its order, each perhaps by several names.
    `on_note` gets what was assumed and left out, `on_progress` how far it is.

    Raises:
        StageError: A file is missing, damaged or does not fit.
        UsageError: The data specification names no source, options contradict the teacher, or
            something would be assumed of it that must not be.
    """
    source = None if data.startswith(_BANK) else _source(data)
    manifest, path = _engine(folder)
    if is_strict and manifest.preprocessing:
        check_recorded(manifest.preprocessing, "build it again with --mean and --std")
    if source is not None and manifest.preprocessing:
        source = _read_as(manifest.preprocessing, source)
    tensors = weights.read(teacher, "--teacher")
    card = _teacher_card(teacher, tensors, facts, manifest)
    options_of = {"mean": "--mean", "std": "--std"}
    report_assumptions(card, options_of, on_note, is_strict=is_strict)
    network = restore(card, tensors, teacher, place="--teacher", on_note=on_note)
    if source is None:
        images = bank_images(Path(data.removeprefix(_BANK)), card)
    else:
        if manifest.preprocessing is None:
            source = _read_as(card, source)
        remarks.of_input(card, manifest.preprocessing or card, on_note)
        with naming_options():
            images = _held_out(source, classes_file, card, on_note)
    compatibility.check(manifest)
    measurements, _ = validate_stage.measure(
        Teacher(network=network, card=card, code=registry.source_file(card.arch)),
        manifest,
        path,
        images,
        options,
        logits={},
        kind="held-out" if source else "bank",
        opset=BACKENDS[manifest.backend].opset,
        cache=folder / RUNTIME_CACHE_FOLDER,
        on_note=on_note,
        on_logits=partial(remarks.of_logits, images=images if source else None, on_note=on_note),
        on_progress=on_progress,
    )
    measurement_files.write(folder / VALIDATION_FILE, measurements)
    return measurements


def _engine(folder: Path) -> tuple[EngineManifest, Path]:
    """Return an engine; one that is a graph was looked at for what fills memory or never ends."""
    manifest, path = read_folder(folder, "--engine")
    if BACKENDS[manifest.backend].is_portable and manifest.ep_context is None:
        limits.check_engine(path, "--engine")
    return manifest, path


def _held_out(source: Data, classes_file: Path | None, card: Card, on_note: OnNote) -> Images:
    """Return the held-out images of a source, which fit the card; all where no part is named."""
    if source.source == "folder":  # of which nothing was trained on here
        source = msgspec.structs.replace(source, held_out_fraction=1.0)
    dataset = load_dataset(
        source,
        Path(source.root),
        classes_file=classes_file,
        known_classes=() if "classes" in card.assumed else card.classes,
    )
    for note in dataset.notes:
        on_note(note)
    images = dataset.held_out
    if source.source == "folder":
        others = f"; {len(dataset.train)} of the training part are not used"
        on_note(f"measured on {len(images)} images{others if len(dataset.train) else ''}")
    check_images(images, card)
    return images


def _teacher_card(
    path: Path,
    tensors: Mapping[str, Tensor],
    facts: Facts,
    manifest: EngineManifest,
) -> Card:
    """Return the card of a teacher; what neither it nor `facts` says is as for the engine."""
    engine = manifest.preprocessing
    is_said, inherited = facts.mean is not None, tuple[float, ...]()
    size = facts.image_size_px
    if size is not None and engine is not None and sides_px(size) != engine.size_px:
        raise UsageError(
            "--image-size",
            f"contradicts the engine ({size_text(size)}, not {size_text(engine.size_px)})",
            "leave it out",
        )
    if cards.read(path) is None and engine is not None:
        # A graph of another program that takes images as they are may normalise them itself.
        is_foreign = not (manifest.signature and manifest.signature.arch)
        has_own = statistics_of(tensors, facts.arch) is not None
        is_unknown = has_own or (is_foreign and not any(engine.mean))
        inherited = () if is_unknown else engine.mean
        facts = facts._replace(
            image_size_px=engine.size_px,
            mean=facts.mean or inherited or None,
            std=facts.std or (engine.std if inherited else None),
            resize_px=engine.resize_px or min(engine.size_px),
            interpolation=engine.interpolation,
        )
    try:
        card = card_for(path, tensors, facts)
    except StageError:
        arch = manifest.signature.arch if manifest.signature else ""
        if facts.arch or not arch:
            raise
        card = card_for(path, tensors, facts._replace(arch=arch))
    if engine is not None:
        card = _with_classes(card, engine, path)
    if inherited and not is_said:
        reason = Origin(kind="assumed", reason="those of the engine")
        card = msgspec.structs.replace(
            card, origins={**card.origins, "mean": reason, "std": reason}
        )
    return card


def _with_classes(card: Card, engine: Preprocessing, path: Path) -> Card:
    """Return a teacher's card with the engine's classes where it has none of its own.

    Raises:
        UsageError: The engine has others.
    """
    if engine.num_classes and engine.num_classes != card.num_classes:
        raise UsageError(
            "--teacher",
            f"has {card.num_classes} classes, the engine {engine.num_classes} ({path})",
            "name the network that the engine was made from",
        )
    if "classes" in engine.assumed or engine.classes == card.classes:
        return card
    if "classes" in card.assumed:
        origins = {**card.origins, "classes": Origin(kind="file", reason="the engine's manifest")}
        return msgspec.structs.replace(card, classes=engine.classes, origins=origins)
    is_said = card.origins.get("classes", Origin(kind="file")).kind == "option"
    raise UsageError(
        "--labels" if is_said else "--teacher",
        f"has other classes than the engine, or in another order ({some(card.classes)}; "
        f"{some(engine.classes)})",
        "build the engine again with the --labels that are right, or correct this",
    )


def _read_as(preprocessing: Preprocessing, source: Data) -> Data:
    """Return the settings of a source whose images are to be read so."""
    channels = preprocessing.channels
    digits = SPECS["digits"]
    if source.source == "digits" and (channels, preprocessing.size_px) != (
        digits.channels,
        digits.size_px,
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
        image_size_px=preprocessing.image_size,
        mean=preprocessing.mean or (0.0,) * channels,
        std=preprocessing.std or (1.0,) * channels,
        resize_px=None if is_usual else preprocessing.resize_px or min(preprocessing.size_px),
        interpolation=preprocessing.interpolation,
    )


def _source(data: str) -> Data:
    """Return the settings of `digits` or `SOURCE:FOLDER`."""
    source, _, folder = data.partition(":")
    if source not in SPECS or (source != "digits" and not folder):
        raise UsageError(
            "--data",
            f"names no source of images{did_you_mean(source, SPECS)} ({data})",
            f"give folder:{data}"
            if expanded(data).is_dir()
            else f"give digits, bank:FILE.npz, or SOURCE:FOLDER with one of {', '.join(SPECS)}",
        )
    root = expanded(folder or "data")
    if source != "digits" and not root.is_dir():
        raise UsageError("--data", f"no such folder ({root})", "correct the path")
    return msgspec.convert({"source": source, "root": str(root)}, Data)

"""An engine from an ONNX file from anywhere."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pipeline.errors import UsageError
from pipeline.gates import measurement_files
from pipeline.gates.build_records import EngineManifest
from pipeline.settings import Build
from pipeline.stage import OnNote, no_note
from stages.build import stage as build_stage
from stages.engines import selection
from stages.engines.base import (
    BACKENDS,
    MANIFEST_FILE,
    VALIDATION_FILE,
    OnProgress,
    no_progress,
)
from stages.engines.open_engine import check_folder
from stages.networks.facts import Facts
from stages.onnxgraph.intake import Intake
from stages.onnxgraph.preprocessing import describe, preprocessing_of
from stages.standalone.assumptions import report_unknown_range

_TABLE = "candidates.json"
_NO_FACTS = Facts()


def build(
    onnx: Path,
    folder: Path,
    options: Build,
    calibration: Path | None = None,
    facts: Facts = _NO_FACTS,
    *,
    is_strict: bool = False,
    on_note: OnNote = no_note,
    on_progress: OnProgress = no_progress,
) -> EngineManifest:
    """Build an engine and its manifest into a folder.

    Args:
        onnx: The fp32 file.
        folder: Where to write.
        options: Backend, device and precision.
        calibration: Images for int8, fp8 and `auto`; None: `auto` is the backend's default.
        facts: What the options say of the images that the file takes.
        is_strict: Refuse to assume what range they have.
        on_note: Gets what was changed in the file and assumed of it, and how far engines are from
            it.
        on_progress: Gets how far the build is.

    Raises:
        StageError: The ONNX file is unsound or the backend cannot use it.
        UnavailableError: The machine lacks what the options name.
        UsageError: A target is no architecture that the backend builds for, the folder holds files
            of another program, options contradict the file, or something would be assumed that must
            not be.
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
    source = _read(onnx, options, facts, on_note)
    report_unknown_range(preprocessing_of(source.model), on_note, is_strict=is_strict)
    with _folder(folder):
        manifest, candidates = build_stage.build(
            onnx,
            folder / file,
            folder / MANIFEST_FILE,
            options,
            source=source,
            calibration_path=calibration,
            on_note=on_note,
            on_progress=on_progress,
        )
    # What was measured of an engine that was there before describes another engine.
    for name in (_TABLE, VALIDATION_FILE):
        (folder / name).unlink(missing_ok=True)
    if is_measured:
        measurement_files.write(folder / _TABLE, candidates)
    return manifest


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it again where nothing comes to be in it."""
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _read(onnx: Path, options: Build, facts: Facts, on_note: OnNote) -> Intake:
    """Return the model of a file with what the options say of its images."""
    if facts.image_size_px is not None:
        options = msgspec.structs.replace(options, image_size_px=facts.image_size_px)
    source = build_stage.read(onnx, options, on_note)
    changes = describe(source.model, facts)
    for change in changes:
        on_note(f"{onnx}: {change}")
    return source._replace(changes=source.changes + changes)

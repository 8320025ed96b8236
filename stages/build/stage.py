"""The build stage: the ONNX file as an engine of one backend, with a manifest beside it."""

import importlib
import shutil
from functools import partial
from pathlib import Path

import msgspec
from onnx import ModelProto

from pipeline import machine
from pipeline.atomic import scratch_folder
from pipeline.cache.keys import file_sha256
from pipeline.errors import StageError, UnavailableError
from pipeline.gates import measurement_files
from pipeline.gates.build_records import Candidates, EngineManifest
from pipeline.settings import Build
from pipeline.stage import Context, OnNote, no_note
from stages.build import needs, notes
from stages.build.autotune import GRAPH_FILE, Autotuner, AutotuneResult, Train, logits
from stages.build.examine import examine, random_images
from stages.engines import selection
from stages.engines.base import BACKENDS, OnProgress, no_progress
from stages.engines.open_engine import place_engine
from stages.engines.ort import OrtSession
from stages.image_bank import Images
from stages.onnxgraph import calibration_images, intake
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.convert import ROUNDED, PrecisionConverter
from stages.onnxgraph.intake import Intake
from stages.onnxgraph.preprocessing import preprocessing_of

_HELD_BACK = "distill/held_back"
_CHECK_IMAGES = 16
"""On which engines are compared whose precision loses next to nothing."""
_STEPS = 3
_TRAINING = "stages.build.int8_training"
"""Imported by name, for it needs torch."""


def run(ctx: Context) -> None:
    """Leave the engine, its manifest and the table of candidates."""
    options = ctx.settings.build
    if ctx.is_smoke:  # a student that has hardly begun has ties everywhere
        options = msgspec.structs.replace(options, max_disagreement=1.0)
    manifest, candidates = build(
        ctx.input("export/onnx"),
        ctx.output("engine"),
        ctx.output("manifest"),
        options,
        calibration_path=ctx.input("distill/bank"),
        place=calibration_images.BANK,
        real_path=ctx.input(_HELD_BACK) if ctx.has_input(_HELD_BACK) else None,
        threads=ctx.settings.validate.threads,
        cache=ctx.cache,
        graph=ctx.output("graph") if options.targets else None,
        train=_training_of_run(ctx) if selection.may_train_int8(options) else None,
        on_progress=ctx.progress,
        on_note=ctx.note,
    )
    measurement_files.write(ctx.output("candidates"), candidates)
    if manifest.device == "cpu" and selection.device(options) == "cuda":
        because = candidates.candidates[0].reason
        ctx.note(f"the engine is for the CPU, since none was made for the GPU ({because})")
    ctx.metric("backend", manifest.backend)
    ctx.metric("device", manifest.device)
    ctx.metric("precision", manifest.precision)
    if manifest.is_trained:
        ctx.metric("int8", "trained")
    if manifest.float_layers:
        ctx.metric("float_layers", ", ".join(manifest.float_layers))
    ctx.metric("bytes", ctx.output("engine").stat().st_size)


def _training_of_run(ctx: Context) -> Train:
    """Return what trains int8 graphs on the run's generators, made at its first use."""
    trainers: list[Train] = []

    def train(quantized: ModelProto, source: ModelProto) -> ModelProto | None:
        if not trainers:
            trainers.append(importlib.import_module(_TRAINING).of_run(ctx))
        return trainers[0](quantized, source)

    return train


def read(onnx: Path, options: Build, on_note: OnNote = no_note) -> Intake:
    """Return the model of an ONNX file in the form that engines are built from.

    `on_note` gets what was changed for that.

    Raises:
        StageError: It is no sound ONNX file, or no classifier of images.
        UsageError: A file that it names is not there, or an option contradicts it.
    """
    source = examine(intake.read(onnx, options), options)
    notes.of_changes(onnx, source, on_note)
    return source


def build(
    onnx: Path,
    engine: Path,
    manifest_path: Path,
    options: Build,
    *,
    source: Intake | None = None,
    calibration_path: Path | None = None,
    place: str = "--calibration",
    real_path: Path | None = None,
    threads: int = 1,
    cache: Path | None = None,
    graph: Path | None = None,
    train: Train | None = None,
    on_progress: OnProgress = no_progress,
    on_note: OnNote = no_note,
) -> tuple[EngineManifest, Candidates]:
    """Make an engine from an ONNX file; write its manifest, and return it and all candidates.

    Precision `auto` measures candidates, with so many CPU threads, where there are images.
    `source` is what `read` returned of the file, if it was read. `calibration_path` holds images
    for calibration and comparison, named by the option or output `place`, and `real_path` real ones
    of a run, taken in turns with those. `cache` is a folder for what a backend keeps from build to
    build, and `graph` where to leave the graph at the precision that was named. `train` trains int8
    graphs where the settings or their disagreement ask for it; where it is None they learn from the
    images, if the settings say so. `on_note` gets what was changed, and how far engines are off.

    Raises:
        StageError: The ONNX file is unsound, the backend cannot use it, or the images do not fit.
        UnavailableError: The device, precision or backend is not to be had here.
    """
    source = source or read(onnx, options, on_note)
    model, images_NCHW = source.model, None
    if calibration_path is not None:
        load = partial(calibration_images.load, real_path=real_path)
        images_NCHW = load(calibration_path, model, place, on_note, on_progress)
    notes.of_images(images_NCHW, place, on_note)
    converter = PrecisionConverter(
        model, images_NCHW, options, is_quantized=source.is_quantized, on_progress=on_progress
    )
    with scratch_folder(engine.parent) as folder:
        if train is None and images_NCHW is not None and options.int8 == "trained":
            module = importlib.import_module(_TRAINING)
            train = module.of_images(images_NCHW, options, on_progress, on_note)
        if images_NCHW is not None and selection.is_chosen_by_measuring(options):
            result, candidates = _autotune(
                converter, folder, on_progress, on_note, threads=threads, cache=cache, train=train
            )
        else:
            result, candidates = _build_named(
                converter, folder, on_progress, cache=cache, train=train
            )
            if graph is not None:
                shutil.move(result.engine.with_name(GRAPH_FILE), graph)
        notes.of_engine(result, candidates, model, on_note)
        manifest = _described(result, source, engine.name, file_sha256(onnx))
        place_engine(result.engine, engine, manifest, manifest_path)
    return manifest, candidates


def _described(
    result: AutotuneResult, source: Intake, engine: str, onnx_sha256: str
) -> EngineManifest:
    """Return the manifest of an engine with what it takes, and where it comes from."""
    assert result.manifest is not None
    preprocessing = preprocessing_of(source.model)
    signature = onnx_io.signature(source.model)
    card = onnx_io.card_of(source.model)
    if "classes" not in preprocessing.assumed:
        signature = msgspec.structs.replace(signature, classes=preprocessing.classes)
    return msgspec.structs.replace(
        result.manifest,
        engine=engine,
        onnx_sha256=onnx_sha256,
        signature=signature,
        real_images=card.real_images if card else None,
        preprocessing=preprocessing,
        reached=result.reached,
        float_layers=result.float_layers,
        reduced_layers=result.reduced_layers,
        full_range_layers=result.full_range_layers,
        equalised_pairs=result.equalised_pairs,
        is_trained=result.is_trained,
        onnx_changes=source.changes,
    )


def _build_named(
    converter: PrecisionConverter,
    folder: Path,
    on_progress: OnProgress,
    *,
    cache: Path | None,
    train: Train | None,
) -> tuple[AutotuneResult, Candidates]:
    """Build the backend and precision that the settings name, and compare it with the file.

    An int8 or int4 graph whose rounding differs too much is trained, where it can be, and the
    better taken.
    """
    options = converter.options
    is_always_trained = options.int8 == "trained"
    result, images = _build_and_compare(
        converter, folder, on_progress, cache=cache, train=train if is_always_trained else None
    )
    misses = result.disagreement is not None and result.disagreement > options.max_disagreement
    may_train = train is not None and not is_always_trained
    if may_train and result.precision in selection.TRAINED and misses:
        second = folder / "trained"
        second.mkdir()
        trained, _ = _build_and_compare(converter, second, on_progress, cache=cache, train=train)
        assert trained.disagreement is not None
        assert result.disagreement is not None
        if trained.is_trained and trained.disagreement < result.disagreement:
            result = trained
    return result, Candidates(
        max_disagreement=options.max_disagreement, images=images, candidates=(result.record(),)
    )


def _build_and_compare(
    converter: PrecisionConverter,
    folder: Path,
    on_progress: OnProgress,
    *,
    cache: Path | None,
    train: Train | None,
) -> tuple[AutotuneResult, int]:
    """Return the engine that the settings name, and on how many images it was compared."""
    options = converter.options
    is_kept = converter.is_quantized and options.precision == "auto"
    result = AutotuneResult(
        backend=selection.backend_name(options),
        precision="int8" if is_kept else selection.precision(options),
        device=selection.device(options),
        engine=folder / "new.engine",
        verdict="chosen",
        reason="named in the settings" if options.precision != "auto" else "no images to compare",
    )
    try:
        result.build(converter, train=train, cache=cache, on_progress=on_progress)
    except UnavailableError as error:
        has_cpu = "cpu" in BACKENDS[result.backend].devices
        if options.device != "auto" or result.device == "cpu" or not has_cpu:
            raise
        # The driver reports a GPU that this backend cannot use; auto asked for none by name.
        result.device, result.reason = "cpu", f"{result.reason}; {error}"
        result.build(converter, train=train, cache=cache, on_progress=on_progress)
    is_stripped = result.manifest and result.manifest.settings.get("weights") == "stripped"
    on_progress(1, _STEPS, "steps")
    if not options.targets and not is_stripped:
        result.open(threads=machine.cpu_count())
    on_progress(2, _STEPS, "steps")
    images = _compare(result, converter, on_progress)
    on_progress(_STEPS, _STEPS, "steps")
    return result, images


def _compare(result: AutotuneResult, converter: PrecisionConverter, on_progress: OnProgress) -> int:
    """Compare a named engine with its ONNX file; return on how many calibration images.

    An engine that cannot run here is represented by its graph where its weights are rounded.
    """
    images_NCHW, is_rounded = converter.images_NCHW, result.precision in ROUNDED
    if result.session is None and not is_rounded:
        return 0
    count = converter.options.calibration_images if is_rounded else _CHECK_IMAGES
    x_NCHW: Images = random_images(converter.model) if images_NCHW is None else images_NCHW[:count]
    threads = machine.cpu_count()
    # Unoptimised, since on this CPU the optimised products of 8 bits may saturate.
    session = result.session or OrtSession(
        result.engine.with_name(GRAPH_FILE), threads=threads, is_optimised=False
    )
    reference = OrtSession(converter.model.SerializeToString(), threads=threads)
    reference_NK = logits(reference.infer, x_NCHW, on_progress)
    result.compare(logits(session.infer, x_NCHW, on_progress), reference_NK)
    result.classes_seen = len(set(reference_NK.argmax(axis=1).tolist()))
    if images_NCHW is None:
        # What class random noise gets says nothing.
        result.disagreement = None
        return 0
    return len(x_NCHW)


def _autotune(
    converter: PrecisionConverter,
    folder: Path,
    on_progress: OnProgress,
    on_note: OnNote,
    *,
    threads: int,
    cache: Path | None,
    train: Train | None,
) -> tuple[AutotuneResult, Candidates]:
    """Build and measure the candidates, and take the fastest that is admissible."""
    options, images_NCHW = converter.options, converter.images_NCHW
    assert images_NCHW is not None
    device = selection.device(options)
    devices = (device, "cpu") if options.device == "auto" and device != "cpu" else (device,)
    results: list[AutotuneResult] = []
    for device in devices:
        on_progress(0, len(selection.candidates(options, device)) + 1, "candidates")
        autotuner = Autotuner(
            converter,
            images_NCHW,
            device=device,
            folder=folder,
            threads=threads,
            cache=cache,
            train=train,
            on_progress=on_progress,
        )
        possible = selection.candidates(options, device)
        if converter.is_quantized:
            possible = tuple(entry for entry in possible if entry.precision == "int8")
        estimate = needs.of_auto(
            converter.model, images_NCHW, options, possible, autotuner.reference_s, train=train
        )
        if note := needs.line(estimate, len(possible), images_NCHW):
            on_note(note)
        autotuner.run(possible)
        best = autotuner.choose()
        results += autotuner.results
        if best is not None:
            return best, Candidates(
                max_disagreement=options.max_disagreement,
                images=len(images_NCHW),
                candidates=tuple(result.record() for result in results),
                device=device,
                rounds=autotuner.repetitions,
                threads=threads,
                costly_layers=tuple(autotuner.sensitive_layers),
            )
    if results and all(result.verdict == "unavailable" for result in results):
        reasons = "; ".join(f"{r.backend} {r.precision}: {r.reason}" for r in results)
        wrong = f"nothing that was tried runs here ({reasons})"
        raise UnavailableError("build.device", wrong, "see madpipe doctor")
    missed = "; ".join(f"{r.backend} {r.precision}: {r.reason}" for r in results) or "none exists"
    raise StageError(
        "build.precision",
        f"no candidate is admissible ({missed})",
        "raise build.max_disagreement, or name a precision",
    )

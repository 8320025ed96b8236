"""The build stage: the ONNX file as an engine of one backend, with a manifest beside it."""

import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from pipeline import machine
from pipeline.atomic import write_bytes
from pipeline.cache.keys import file_sha256
from pipeline.errors import StageError, UnavailableError
from pipeline.settings import Build
from pipeline.stage import Context
from stages.build import autotune
from stages.build.autotune import SCHEMA, Autotuner, AutotuneResult
from stages.engines import selection
from stages.engines.base import BACKENDS, EngineManifest, Order, Tell, silent
from stages.onnxgraph import calibration_images
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.convert import Maker

_GRAPH_FILE = "graph.onnx"


def run(ctx: Context) -> None:
    """Leave the engine, its manifest and the table of candidates."""
    manifest, table = build(
        ctx.input("export/onnx"),
        ctx.output("engine"),
        ctx.output("manifest"),
        ctx.settings.build,
        calibration_path=ctx.input("distill/bank"),
        place="the bank",
        threads=ctx.settings.validate.threads,
        cache=ctx.cache,
        graph=ctx.output("graph") if ctx.settings.build.targets else None,
        tell=ctx.progress,
    )
    write_bytes(ctx.output("candidates"), json.dumps(table, allow_nan=False).encode())
    if machine.gpus() and ctx.settings.build.device == "auto" and manifest.device == "cpu":
        ctx.note(f"{manifest.backend} cannot use the GPU here, so the engine is for the CPU")
    ctx.metric("backend", manifest.backend)
    ctx.metric("device", manifest.device)
    ctx.metric("precision", manifest.precision)
    if manifest.float_layers:
        ctx.metric("float_layers", ", ".join(manifest.float_layers))
    ctx.metric("bytes", ctx.output("engine").stat().st_size)


def build(
    onnx: Path,
    engine: Path,
    manifest_path: Path,
    options: Build,
    *,
    calibration_path: Path | None = None,
    place: str = "--calibration",
    threads: int = 1,
    cache: Path | None = None,
    graph: Path | None = None,
    tell: Tell = silent,
) -> tuple[EngineManifest, dict[str, Any]]:
    """Make an engine from an ONNX file and write its manifest.

    Args:
        onnx: The fp32 file.
        engine: Where to write.
        manifest_path: Where to write what it is.
        options: Backend, device and precision; `auto` measures candidates where there are images.
        calibration_path: Images for calibration and comparison; None: none.
        place: What named that path, for messages.
        threads: CPU threads with which candidates are measured.
        cache: A folder for what a backend keeps from build to build; None: nothing is kept.
        graph: Where to leave the graph at the precision that was named; None: nowhere.
        tell: Called with done, total and the unit while building.

    Returns:
        The manifest, and the table of candidates that the report shows.

    Raises:
        StageError: The ONNX file is unsound, the backend cannot use it, or the images do not fit.
        UnavailableError: The device, precision or backend is not to be had here.
    """
    model = onnx_io.read(onnx, "the ONNX file")
    onnx_io.check_images(model, "the ONNX file")
    images_NCHW = None
    if calibration_path is not None:
        images_NCHW = calibration_images.load(calibration_path, model, place)
    maker = Maker(model, images_NCHW, options)
    with TemporaryDirectory(prefix="madpipe-", dir=engine.parent) as name:
        folder = Path(name)
        if images_NCHW is not None and selection.is_chosen_by_measuring(options):
            trial = functools.partial(
                Autotuner, maker, images_NCHW, options, folder=folder, threads=threads, cache=cache
            )
            made, device, table = _measured(trial, options, len(images_NCHW), tell)
        else:
            made, device, table = _single(maker, options, folder, cache, tell)
            if graph is not None:
                shutil.move(folder / _GRAPH_FILE, graph)
        shutil.move(made.engine, engine)
    manifest = EngineManifest(
        onnx_sha256=file_sha256(onnx),
        signature=onnx_io.signature(model),
        **_described(made, engine, device),
    )
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    write_bytes(manifest_path, content + b"\n")
    return manifest, table


def _described(made: AutotuneResult, engine: Path, device: str) -> dict[str, Any]:
    """Return what the manifest says of the engine itself."""
    return {
        "backend": made.backend,
        "backend_version": machine.version(BACKENDS[made.backend].distribution),
        "device": device,
        "precision": made.precision,
        "engine": engine.name,
        "sha256": file_sha256(engine),
        "reached": made.reached,
        "float_layers": made.float_layers,
        **made.facts,
    }


def _single(
    maker: Maker, options: Build, folder: Path, cache: Path | None, tell: Tell
) -> tuple[AutotuneResult, str, dict[str, Any]]:
    """Build what the settings name."""
    name, precision = selection.backend_name(options), selection.precision(options)
    info = BACKENDS[name]
    prepared = maker.at(precision, info)
    source = folder / _GRAPH_FILE
    onnx_io.save(prepared.model, source)
    made = AutotuneResult(
        backend=name,
        precision=precision,
        engine=folder / "made.engine",
        float_layers=prepared.float_layers,
        verdict="chosen",
        reason="named in the settings" if options.precision != "auto" else "no images to compare",
    )
    device = selection.device(options)
    backend = selection.backend(name)

    order = Order(
        onnx=source,
        engine=made.engine,
        device=device,
        precision=precision,
        options=options,
        cache=cache,
        tell=tell,
    )
    try:
        facts = backend.build(order)
    except UnavailableError:
        if options.device != "auto" or device == "cpu" or "cpu" not in info.devices:
            raise
        # The driver reports a GPU that this backend cannot use; auto asked for none by name.
        device = "cpu"
        facts = backend.build(replace(order, device=device))
    made.facts = dict(facts or {})
    if not options.targets:
        session = backend.open(made.engine, device=device, threads=1)
        made.reached = autotune.reached(session)
    return made, device, _table([made], options, images=0)


def _measured(
    trial_on: Callable[..., Autotuner], options: Build, images: int, tell: Tell
) -> tuple[AutotuneResult, str, dict[str, Any]]:
    """Build and measure the candidates, and take the fastest that is admissible."""
    device = selection.device(options)
    places = (device, "cpu") if options.device == "auto" and device != "cpu" else (device,)
    tried: list[AutotuneResult] = []
    for where in places:
        trial = trial_on(device=where)
        trial.run(selection.candidates(options, where), tell)
        best = trial.chosen()
        tried += trial.tried
        if best is not None:
            table = _table(tried, options, images=images)
            table |= {"device": where, "rounds": trial.rounds, "threads": trial.threads}
            table["costly_layers"] = [each._asdict() for each in trial.costly]
            return best, where, table
    if tried and all(each.verdict == "unavailable" for each in tried):
        raise UnavailableError("build.device", tried[0].reason, "see madpipe doctor")
    missed = "; ".join(f"{t.backend} {t.precision}: {t.reason}" for t in tried) or "none exists"
    raise StageError(
        "build.precision",
        f"no candidate is admissible ({missed})",
        "raise build.max_disagreement, or name a precision",
    )


def _table(tried: list[AutotuneResult], options: Build, *, images: int) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "max_disagreement": options.max_disagreement,
        "images": images,
        "candidates": [each.record() for each in tried],
    }

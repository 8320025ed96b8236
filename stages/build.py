"""The build stage: the ONNX file as an engine of one backend, with a manifest beside it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from pipeline import machine
from pipeline.atomic import write_bytes
from pipeline.errors import UnavailableError
from pipeline.keys import file_sha256
from pipeline.settings import Build
from pipeline.stage import Context
from stages import onnxfile
from stages.engines import resolve
from stages.engines.base import BACKENDS, EngineManifest, Order


def run(ctx: Context) -> None:
    """Leave the engine and its manifest."""
    manifest = build(
        ctx.input("export/onnx"),
        ctx.output("engine"),
        ctx.output("manifest"),
        ctx.settings.build,
        cache=ctx.cache,
        tell=ctx.progress,
    )
    if machine.gpus() and ctx.settings.build.device == "auto" and manifest.device == "cpu":
        ctx.note(f"{manifest.backend} cannot use the GPU here, so the engine is for the CPU")
    ctx.metric("backend", manifest.backend)
    ctx.metric("device", manifest.device)
    ctx.metric("precision", manifest.precision)
    ctx.metric("bytes", ctx.output("engine").stat().st_size)


def build(
    onnx: Path,
    engine: Path,
    manifest_path: Path,
    options: Build,
    *,
    cache: Path | None = None,
    tell: Callable[[int, int, str], None] = lambda done, total, unit: None,  # noqa: ARG005
) -> EngineManifest:
    """Make an engine from an ONNX file and write its manifest.

    Raises:
        StageError: The ONNX file is unsound or the backend cannot use it.
        UnavailableError: The device, precision or backend is not to be had here.
    """
    name = resolve.backend_name(options)
    device, precision = resolve.device(options), resolve.precision(options)
    model = onnxfile.read(onnx, "the ONNX file")
    onnxfile.check_images(model, "the ONNX file")
    order = Order(
        onnx=onnx,
        engine=engine,
        device=device,
        precision=precision,
        options=options,
        cache=cache,
        tell=tell,
    )
    try:
        facts = resolve.backend(name).build(order)
    except UnavailableError:
        if options.device != "auto" or "cpu" not in BACKENDS[name].devices:
            raise
        # The driver reports a GPU that this backend cannot use; auto asked for none by name.
        device = "cpu"
        facts = resolve.backend(name).build(replace(order, device=device))
    manifest = EngineManifest(
        backend=name,
        backend_version=machine.version(BACKENDS[name].distribution),
        device=device,
        precision=precision,
        engine=engine.name,
        sha256=file_sha256(engine),
        onnx_sha256=file_sha256(onnx),
        signature=onnxfile.signature(model),
        **(facts or {}),
    )
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    write_bytes(manifest_path, content + b"\n")
    return manifest

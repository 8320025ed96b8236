"""Commands on files that need no pipeline: build and validate.

Without a file they are the stages of their names: `madpipe build` is `madpipe run build`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from pipeline.cli import common, preprocessing_options
from pipeline.cli.common import DEFAULT_CONFIG, Config, Force, Json, Set
from pipeline.cli.preprocessing_options import (
    Interpolate,
    Labels,
    Mean,
    Resize,
    SizeOption,
    Std,
    Strict,
)
from pipeline.cli.run import run
from pipeline.config.load import defaults
from pipeline.errors import UsageError
from pipeline.gates.build_records import EngineManifest
from pipeline.gates.judge import exit_code, judge
from pipeline.gates.measurements import Measurements
from pipeline.screen.plain import ProgressLines
from pipeline.settings import BackendName, DeviceName, Gate, PrecisionName, Settings
from stages import bank_recipe
from stages.engines.base import BACKENDS

Onnx = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="The ONNX file to build from.")
]
Engine = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Folder with an engine and manifest.json; absent: that of the last run.",
    ),
]
TeacherFile = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Weights to compare with.")
]
Data = Annotated[
    str,
    typer.Option(metavar="SPEC", help="digits, SOURCE:FOLDER, or bank:FILE.npz without labels."),
]
Precision = Annotated[PrecisionName, typer.Option(help="Arithmetic of the engine.")]
Backend = Annotated[BackendName, typer.Option(help="What runs the engine.")]
EngineOut = Annotated[
    Path | None,
    typer.Option("--out", help="The folder to write; absent: beside the ONNX file, of its name."),
]
Device = Annotated[DeviceName, typer.Option(help="Where it runs.")]
Target = Annotated[list[str] | None, typer.Option(help="Architecture to build for ahead of time.")]
Calibration = Annotated[
    Path | None,
    typer.Option(help="Images for int8, fp8, int4, auto: bank.npz, bank.json or a folder."),
]
TeacherArch = Annotated[
    str | None,
    typer.Option("--arch", help="Of the teacher; absent: its card's, identified, or the engine's."),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Loss of top-1 (with bank: of agreement) that passes; exit 3 beyond, 4 undecided.",
    ),
]


def build(
    context: typer.Context,
    onnx: Onnx = None,
    backend: Backend = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    target: Target = None,
    calibration: Calibration = None,
    image_size: SizeOption = None,
    mean: Mean = None,
    std: Std = None,
    labels: Labels = None,
    resize: Resize = None,
    interpolation: Interpolate = None,
    out: EngineOut = None,
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    force: Force = None,
    *,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Build an engine from an ONNX file; without --onnx, run the build stage.

    madpipe build --onnx r18.onnx --precision int8 --calibration images
    """
    from_options = _choices(backend, device, precision, target)
    if onnx is None:
        chosen = ("backend", "device", "precision", "target")
        common.check_unused(context, "--onnx", (*common.STAGE_OPTIONS, *chosen))
        run(["build"], config, [*(set_ or ()), *_as_changes(from_options)], force, as_json=as_json)
    options = settings_for("--onnx", "build", config, set_, force, from_options).build
    options = msgspec.structs.replace(options, **from_options)
    values = preprocessing_options.read(
        image_size=image_size,
        mean=mean,
        std=std,
        labels=labels,
        resize=resize,
        interpolation=interpolation,
    )
    if calibration is not None and options.precision not in ("auto", "int8", "fp8", "int4"):
        wrong = f"only int8, fp8 and int4 take images ({options.precision})"
        raise UsageError("--calibration", wrong, "drop one of both")
    _check_images("--calibration", calibration)
    from stages import standalone  # noqa: PLC0415
    from stages.networks.facts import Facts  # noqa: PLC0415

    folder = out or onnx.with_suffix("")
    manifest = standalone.build(
        onnx,
        folder,
        options,
        calibration,
        Facts(**values._asdict()),
        is_strict=strict,
        on_note=common.write_note,
        on_progress=ProgressLines("build"),
    )
    _write_manifest(manifest, folder, as_json=as_json)


def _write_manifest(manifest: EngineManifest, folder: Path, *, as_json: bool) -> None:
    """Print what was built, and where it is."""
    if as_json:
        common.write_json(msgspec.to_builtins(manifest) | {"path": str(folder)})
        return
    what = f"{manifest.backend} {manifest.backend_version}, {manifest.device}"
    common.write(f"{folder}  {what}, {manifest.precision}")


def _check_images(option: str, path: Path | None) -> None:
    """Make sure that an option with images, where it is there, names something that is there.

    Raises:
        UsageError: It does not, or names the bank of a run that keeps none.
    """
    if path is None:
        return
    if recipe := bank_recipe.standing_for(path):
        raise UsageError(option, *bank_recipe.absent(path, recipe))
    if not path.exists():
        raise UsageError(option, f"no such file or folder ({path})", "correct the path")


def _choices(
    backend: str, device: str, precision: str, targets: Sequence[str] | None
) -> dict[str, Any]:
    """Return the settings of [build] that options say."""
    names = {"backend": backend, "device": device, "precision": precision}
    choices: dict[str, Any] = {name: text for name, text in names.items() if text != "auto"}
    if targets:
        choices["targets"] = tuple(targets)
        # Only one backend builds for GPUs that are elsewhere.
        builder = next(name for name, info in BACKENDS.items() if info.architectures)
        choices.setdefault("backend", builder)
    return choices


def _as_changes(from_options: Mapping[str, Any]) -> list[str]:
    """Return settings of [build] as --set takes them."""
    return [f"build.{name}={json.dumps(value)}" for name, value in from_options.items()]


def validate(
    context: typer.Context,
    engine: Engine = None,
    teacher: TeacherFile = None,
    data: Data = "digits",
    arch: TeacherArch = None,
    image_size: SizeOption = None,
    mean: Mean = None,
    std: Std = None,
    labels: Labels = None,
    max_drop: MaxDrop = None,
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    force: Force = None,
    *,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Measure an engine against a teacher; without --engine, run the validate stage.

    madpipe validate --engine r18 --teacher r18.pth --data folder:images --max-drop 0.01

    Other bounds are gates: --set gates.speedup.min=2. Quicker: --set validate.pairs=20.

    The measurements are stored beside the engine, as validation.json, for its model card.
    """
    if engine is None:
        common.check_unused(context, "--engine", common.STAGE_OPTIONS)
        run(["validate"], config, set_, force, as_json=as_json)
    settings = settings_for("--engine", "validate", config, set_, force, also=("gates",))
    if teacher is None:
        raise UsageError("--teacher", "is needed with --engine (absent)", "name its weights file")
    from stages import standalone  # noqa: PLC0415
    from stages.networks.facts import Facts  # noqa: PLC0415

    values = preprocessing_options.read(image_size=image_size, mean=mean, std=std, labels=labels)
    measurements = standalone.validate(
        engine,
        teacher,
        data,
        settings.validate,
        Facts(arch=arch, **values._asdict()),
        classes_file=labels,
        is_strict=strict,
        on_note=common.write_note,
        on_progress=ProgressLines("validate"),
    )
    if as_json:
        common.write_json(msgspec.to_builtins(measurements))
    else:
        _print(measurements)
    if gates := _gates(measurements, settings, set_ or (), max_drop):
        verdicts = judge(measurements, gates)
        for verdict in verdicts:
            common.write_note(f"{verdict.name} {verdict.verdict}: {verdict.reason}")
        raise typer.Exit(exit_code(verdicts))


def _gates(
    measurements: Measurements, settings: Settings, changes: Sequence[str], max_drop: float | None
) -> dict[str, Gate]:
    """Return the bounds that the command line names, and no others."""
    parts = [change.partition("=")[0].strip().split(".") for change in changes]
    gates = {names[1]: settings.gates[names[1]] for names in parts if names[0] == "gates"}
    if max_drop is not None and measurements.accuracy:
        gates["engine_top1_drop"] = Gate(max=max_drop)
    elif max_drop is not None:
        gates["engine_bank_agreement"] = Gate(min=1 - max_drop)
    return gates


def _print(measurements: Measurements) -> None:
    """Print what was measured of an engine."""
    if drop := measurements.paired.get("engine"):
        common.write(
            f"drop      top-1 {(drop.lost - drop.gained) / drop.n:.4f} against the "
            f"{drop.reference}  ({drop.lost} lost, {drop.gained} gained)"
        )
    for name, accuracy in measurements.accuracy.items():
        common.write(f"{name:<9} top-1 {accuracy.top1:.4f}  (n = {accuracy.n})")
    for name, agreement in measurements.bank_agreement.items():
        share = f"{agreement.value:.4f}  (n = {agreement.n})"
        common.write(f"{name:<9} agrees with the teacher on synthetic images {share}")
    if measurements.latency is None:
        common.write(f"latency   not measured: {measurements.engine_absent}")
        return
    for latency in measurements.latency.batches:
        ratio = latency.speedup
        common.write(
            f"batch {latency.batch:<4} teacher {latency.teacher.p50_ms:.3f} ms  engine "
            f"{latency.engine.p50_ms:.3f} ms  speed-up {ratio.median:.2f} "
            f"[{ratio.interval[0]:.2f}, {ratio.interval[1]:.2f}] ({ratio.pairs} pairs)"
        )
        if latency.speedup_same_backend:
            median = latency.speedup_same_backend.median
            common.write(f"{'':<10} over the teacher in the same backend {median:.2f}")


def settings_for(
    option: str,
    table: str,
    config: Path,
    set_: list[str] | None,
    force: list[str] | None,
    from_options: Mapping[str, Any] | None = None,
    also: tuple[str, ...] = (),
) -> Settings:
    """Return the defaults changed by --set; a command on a file has no pipeline around it.

    `option` names the file, `table` the table of settings that the command uses, `also` others.
    Changes must fit `from_options`, the settings of that table that other options have set.

    Raises:
        ConfigError: A change is wrong.
        UsageError: An option was given that only a pipeline has, or a change to another table.
    """
    for name, value, default in (("--config", config, DEFAULT_CONFIG), ("--force", force, None)):
        if value not in (default, []):
            wrong = f"has no meaning with {option} ({value})"
            raise UsageError(name, wrong, f"drop it, or {option}")
    for change in set_ or ():
        if change.lstrip().partition(".")[0] not in (table, *also):
            wrong = f"has no part in this command ({change})"
            known = " and ".join(f"[{name}]" for name in (table, *also))
            raise UsageError("--set", wrong, f"change {known} alone")
    if not set_:
        return defaults(())
    options = (from_options or {}).items()
    return defaults([*set_, *(f"{table}.{name}={json.dumps(value)}" for name, value in options)])

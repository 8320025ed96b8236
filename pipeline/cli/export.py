"""The command export: the export stage, or a weights file from anywhere as ONNX."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from pipeline.cli import common, preprocessing_options
from pipeline.cli.common import DEFAULT_CONFIG, Config, Force, Json, Set
from pipeline.cli.files import settings_for
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
from pipeline.errors import UsageError
from pipeline.screen import formatting
from pipeline.settings import InputName, PrecisionName

_HEAD_BYTES = 64
Student = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Weights of a network to export.")
]
Arch = Annotated[
    str | None, typer.Option(help="Architecture; absent: identified by names and shapes.")
]
NumClasses = Annotated[int | None, typer.Option(min=1, help="Absent: that of the last layer.")]
FilePrecision = Annotated[
    PrecisionName, typer.Option(help="auto or fp32; build makes the other precisions.")
]
OnnxOut = Annotated[
    Path | None, typer.Option("--out", help="The file to write; absent: beside the weights.")
]
Input = Annotated[
    InputName | None,
    typer.Option("--input", help="What the graph takes: floats in [0, 1], or bytes as decoded."),
]


_OTHER_SUFFIXES = {".pt", ".pth", ".safetensors", ".ckpt", ".bin", ".engine", ".plan", ".zip"}


def export(
    context: typer.Context,
    student: Student = None,
    arch: Arch = None,
    num_classes: NumClasses = None,
    image_size: SizeOption = None,
    mean: Mean = None,
    std: Std = None,
    labels: Labels = None,
    resize: Resize = None,
    interpolation: Interpolate = None,
    input_: Input = None,
    precision: FilePrecision = "auto",
    out: OnnxOut = None,
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    force: Force = None,
    *,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Export weights to ONNX; without --student, run the export stage.

    madpipe export --student r18.pth --labels names.txt

    What neither file nor options say is the usual for the architecture; each such value is printed.
    """
    if student is None:
        common.check_unused(context, "--student", common.STAGE_OPTIONS)
        run(["export"], config, set_, force, as_json=as_json)
    settings = settings_for("--student", "export", config, set_, force)
    if precision not in ("auto", "fp32"):
        remedy = "give the precision to madpipe build"
        raise UsageError("--precision", f"exports are fp32 ({precision})", remedy)
    path = _target(student, out)
    facts = preprocessing_options.read(
        image_size=image_size,
        mean=mean,
        std=std,
        labels=labels,
        resize=resize,
        interpolation=interpolation,
    )
    from stages import standalone  # noqa: PLC0415  (torch, only when there is something to do)
    from stages.networks.facts import Facts  # noqa: PLC0415

    result = standalone.export(
        student,
        path,
        Facts(arch=arch, num_classes=num_classes, **facts._asdict()),
        is_strict=strict,
        options=msgspec.structs.replace(settings.export, input=input_ or settings.export.input),
        on_note=common.write_note,
    )
    if as_json:
        common.write_json(result | {"path": str(path)})
        return
    del result["preprocessing"]
    common.write(f"{path}  {formatting.size(path.stat().st_size)}  {formatting.metrics(result)}")


def _target(student: Path, out: Path | None) -> Path:
    """Return the file to write; UsageError where it is something else that must not be lost."""
    if student.suffix == ".onnx":
        remedy = f"use madpipe build --onnx {student}"
        raise UsageError("--student", f"is an ONNX file already ({student})", remedy)
    # What stands behind the last point of checkpoint-0.95 is no suffix.
    is_number = student.suffix[1:].isdecimal()
    usual = student.with_name(f"{student.name}.onnx") if is_number else student.with_suffix(".onnx")
    path = out or usual
    if path.is_dir():
        remedy = f"name a file in it, such as {path / usual.name}"
        raise UsageError("--out", f"is a folder ({path})", remedy)
    if path.resolve() == student.resolve():
        raise UsageError("--out", f"is the file of the weights ({path})", "name another file")
    if path.suffix in _OTHER_SUFFIXES:
        remedy = f"name it {path.with_suffix('.onnx')}"
        raise UsageError("--out", f"has not the name of an ONNX file ({path})", remedy)
    if path == Path("-") or (path.exists() and not path.is_file()):
        raise UsageError("--out", f"is no file ({path})", "name a file that ends in .onnx")
    if path.exists() and path.suffix != ".onnx":
        wrong = f"is there and has not the name of an ONNX file ({path})"
        raise UsageError("--out", wrong, "name a file that ends in .onnx, or remove it")
    if out is None and path.exists() and not _is_ours(path):
        wrong = f"would replace an ONNX file of another program ({path})"
        raise UsageError("--out", wrong, "name the file to write")
    return path


def _is_ours(onnx: Path) -> bool:
    """Return whether an ONNX file names madpipe as its producer, which stands near its begin."""
    with onnx.open("rb") as file:
        return b"madpipe" in file.read(_HEAD_BYTES)

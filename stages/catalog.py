"""The stages of madpipe, declared: what each reads, leaves and depends on.

A pure function of the settings that imports nothing heavy; the code of a stage is named, and
imported only when it has to run. That distill cannot reach an image is to be read here: it
declares the teacher's weights as its only input, and no slice of [data].
"""

from collections.abc import Mapping
from pathlib import Path

from models import registry
from pipeline.errors import SettingsFault
from pipeline.settings import Data, Settings
from pipeline.stage import External, Stage
from stages.data.specs import loader_module
from stages.engines import resolve
from stages.engines.base import BACKENDS

_TORCH = ("torch", "numpy")


def declare(settings: Settings, root: Path) -> tuple[Stage, ...]:
    """Return the five stages for these settings.

    Args:
        settings: The whole of them; each stage declares its slices.
        root: The folder that relative paths in the settings start from.

    Raises:
        SettingsFault: An architecture's name can name nothing.
    """
    _check_architectures(settings)
    teacher_code = _code(settings.teacher.arch, "teacher", root)
    student_code = _code(settings.student.arch, "student", root)
    return (
        _teacher(settings, root, teacher_code),
        _distill(settings, teacher_code, student_code),
        _export(settings, student_code),
        _build(settings),
        _validate(settings, root, teacher_code, student_code),
    )


def _teacher(settings: Settings, root: Path, code: Mapping[str, External]) -> Stage:
    teacher = settings.teacher
    if settings.validate.images == "bank" and teacher.weights is not None:
        return _given_teacher(settings, root / teacher.weights, code)
    externals = dict(code) | _data(settings.data, root)
    slices: tuple[str, ...] = ("seed", "data", "teacher")
    if teacher.weights is not None:
        path = root / teacher.weights
        externals["teacher_weights"] = External(path=path, needed_by="teacher.weights")
        slices = ("data", "teacher.arch")
    return Stage(
        name="teacher",
        run="stages.teacher:run",
        settings=slices,
        externals=externals,
        outputs={"weights": "teacher.safetensors"},
        packages=(*_TORCH, *_data_packages(settings.data), *_library(teacher.arch)),
        code=(*registry.code_modules(teacher.arch), loader_module(settings.data.source)),
    )


def _given_teacher(settings: Settings, weights: Path, code: Mapping[str, External]) -> Stage:
    """Return the stage that takes a teacher on trust, where no labelled image is there to check."""
    return Stage(
        name="teacher",
        run="stages.given:run",
        settings=("teacher.arch", "data.image_size_px", "data.mean", "data.std"),
        externals={
            **code,
            "teacher_weights": External(path=weights, needed_by="teacher.weights"),
        },
        outputs={"weights": "teacher.safetensors"},
        packages=(*_TORCH, *_library(settings.teacher.arch)),
        code=registry.code_modules(settings.teacher.arch),
    )


def _distill(
    settings: Settings, teacher_code: Mapping[str, External], student_code: Mapping[str, External]
) -> Stage:
    teacher, student = settings.teacher.arch, settings.student.arch
    return Stage(
        name="distill",
        run="stages.distill:run",
        settings=("seed", "student", "distill"),
        inputs=("teacher/weights",),
        externals={**teacher_code, **student_code},
        outputs={
            "student": "student.safetensors",
            "generator": "generator.safetensors",
            "ema_generator": "ema_generator.safetensors",
            "bank": "bank.npz",
            "picture": "samples.png",
        },
        packages=(*_TORCH, *_library(teacher), *_library(student)),
        code=(*registry.code_modules(teacher), *registry.code_modules(student)),
    )


def _export(settings: Settings, code: Mapping[str, External]) -> Stage:
    arch = settings.student.arch
    return Stage(
        name="export",
        run="stages.export:run",
        settings=("export",),
        inputs=("distill/student", "distill/bank"),
        externals=code,
        outputs={"onnx": "student.onnx"},
        packages=(*_TORCH, "onnx", "onnxscript", *_library(arch)),
        code=registry.code_modules(arch),
    )


def _build(settings: Settings) -> Stage:
    info = BACKENDS[resolve.backend_name(settings.build)]
    return Stage(
        name="build",
        run="stages.build:run",
        settings=("build",),
        inputs=("export/onnx",),
        outputs={"engine": info.engine_file, "manifest": "manifest.json"},
        packages=("onnx", info.distribution),
        facts=("gpu", "driver", *info.facts),
        code=(info.module,) if info.module else (),
        requires=resolve.requirements(settings.build),
    )


def _validate(
    settings: Settings,
    root: Path,
    teacher_code: Mapping[str, External],
    student_code: Mapping[str, External],
) -> Stage:
    info = BACKENDS[resolve.backend_name(settings.build)]
    teacher, student = settings.teacher.arch, settings.student.arch
    has_none = settings.validate.images == "bank"
    data = {} if has_none else _data(settings.data, root)
    return Stage(
        name="validate",
        run="stages.validate:run",
        settings=("validate", "export.opset", *(() if has_none else ("data",))),
        inputs=(
            *(("distill/bank",) if has_none else ()),
            "teacher/weights",
            "distill/student",
            "export/onnx",
            "build/engine",
            "build/manifest",
        ),
        externals={**data, **teacher_code, **student_code},
        outputs={"measurements": "measurements.json", "samples": "samples.json"},
        packages=(
            *_TORCH,
            "onnx",
            "onnxruntime-gpu|onnxruntime",
            "scipy",
            info.distribution,
            *_data_packages(settings.data),
            *_library(teacher),
            *_library(student),
        ),
        facts=("cpu", "gpu", "driver"),
        code=(
            *registry.code_modules(teacher),
            *registry.code_modules(student),
            *((info.module,) if info.module else ()),
            loader_module(settings.data.source),
        ),
    )


def _data(data: Data, root: Path) -> dict[str, External]:
    if data.source == "digits":
        return {}
    return {"data": External(path=root / data.root, needed_by="data.root")}


def _data_packages(data: Data) -> tuple[str, ...]:
    return ("scikit-learn",) if data.source == "digits" else ("torchvision", "pillow")


def _code(arch: str, who: str, root: Path) -> dict[str, External]:
    file = registry.source_file(arch)
    return {f"{who}_code": External(path=root / file, needed_by=f"{who}.arch")} if file else {}


def _library(arch: str) -> tuple[str, ...]:
    name = registry.package(arch)
    return (name,) if name else ()


def _check_architectures(settings: Settings) -> None:
    faults = []
    for key, arch in (("teacher", settings.teacher.arch), ("student", settings.student.arch)):
        try:
            registry.check_name(arch)
        except registry.UnknownArchitecture as error:
            faults.append(((key, "arch"), error.wrong, error.remedy))
    if faults:
        raise SettingsFault(faults)

"""The stages of madpipe, declared: what a stage reads, leaves and depends on.

A pure function of the settings that imports nothing heavy; the code of a stage is named, and
imported only when it has to run. That distill cannot reach an image is to be read here: it
declares the teacher's weights as its only input, and no slice of [data].
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from models import registry
from models.upsampling import start_size
from pipeline.errors import SettingsFault
from pipeline.requirements import NeedsModule, Requirement
from pipeline.settings import Data, Settings
from pipeline.stage import External, Fetch, Stage
from stages.data.specs import SPECS, loader_module, spec_of, where_of
from stages.engines import selection
from stages.engines.base import BACKENDS, BackendInfo
from stages.preflight import NeedsNetwork

_TORCH = ("torch", "numpy")
_DATA = tuple(f"data.{name}" for name in Data.__struct_fields__ if name != "download")
"""Images are the same whether they were downloaded or not."""


def declare(settings: Settings, root: Path) -> tuple[Stage, ...]:
    """Return the five stages for these settings.

    Args:
        settings: The whole of them; each stage declares its slices.
        root: The folder that relative paths in the settings start from.

    Raises:
        SettingsFault: The name of an architecture, of a network or GPU, can name nothing, or no
            generator can make images of this size.
    """
    _check(settings)
    teacher_code = _code(settings.teacher.arch, "teacher", root)
    student_code = _code(settings.student.arch, "student", root)
    return (
        _teacher(settings, root, teacher_code),
        _distill(settings, root, teacher_code, student_code),
        _export(settings, student_code),
        _build(settings),
        _validate(settings, root, teacher_code, student_code),
    )


def _check(settings: Settings) -> None:
    """Refuse names that can name nothing, and images that no generator can make.

    Raises:
        SettingsFault: There are some; names them all.
    """
    faults = []
    for key, arch in (("teacher", settings.teacher.arch), ("student", settings.student.arch)):
        try:
            registry.check_name(arch)
        except registry.UnknownArchitecture as error:
            faults.append(((key, "arch"), error.wrong, error.remedy))
    try:
        start_size(spec_of(settings.data).image_size_px)
    except ValueError as error:
        remedy = "use 8, 28, 32, 64, 224 or another small map doubled a few times"
        faults.append((("data", "image_size_px"), str(error), remedy))
    if unsupported := selection.unsupported_target(settings.build):
        faults.append((("build", "targets"), unsupported.wrong, unsupported.remedy))
    if faults:
        raise SettingsFault(faults)


def _teacher(settings: Settings, root: Path, code: Mapping[str, External]) -> Stage:
    teacher = settings.teacher
    if settings.validate.images == "bank" and teacher.weights is not None:
        return _teacher_from_weights(settings, root / teacher.weights, code)
    externals = dict(code) | _data(settings.data, root)
    slices: tuple[str, ...] = ("seed", *_DATA, "teacher")
    if teacher.weights is not None:
        path = root / teacher.weights
        externals["teacher_weights"] = External(
            path=path,
            needed_by="teacher.weights",
            remedy="put the teacher's weights there, or leave the setting out to train one",
        )
        slices = (*_DATA, "teacher.arch")
    return Stage(
        name="teacher",
        run="stages.teacher.stage:run",
        settings=slices,
        externals=externals,
        outputs={"weights": "teacher.safetensors"},
        packages=(*_TORCH, *_data_packages(settings.data), *_library(teacher.arch)),
        code=(*registry.code_modules(teacher.arch), loader_module(settings.data.source)),
        requires=_network("teacher", teacher.arch, code, settings, root),
    )


def _teacher_from_weights(settings: Settings, weights: Path, code: Mapping[str, External]) -> Stage:
    """Return the stage for weights that no labelled image is there to check."""
    return Stage(
        name="teacher",
        run="stages.teacher.from_weights:run",
        settings=("teacher.arch", "data.image_size_px", "data.mean", "data.std"),
        externals={
            **code,
            "teacher_weights": External(
                path=weights,
                needed_by="teacher.weights",
                remedy="put the teacher's weights there",
            ),
        },
        outputs={"weights": "teacher.safetensors"},
        packages=(*_TORCH, *_library(settings.teacher.arch)),
        code=registry.code_modules(settings.teacher.arch),
    )


def _distill(
    settings: Settings,
    root: Path,
    teacher_code: Mapping[str, External],
    student_code: Mapping[str, External],
) -> Stage:
    teacher, student = settings.teacher.arch, settings.student.arch
    # Only a monitor set that was switched on makes images reachable, and then visibly so.
    has_monitor = settings.distill.monitor != "off"
    return Stage(
        name="distill",
        run="stages.distill.stage:run",
        settings=("seed", "student", "distill", *(_DATA if has_monitor else ())),
        inputs=("teacher/weights",),
        externals={
            **teacher_code,
            **student_code,
            **(_data(settings.data, root) if has_monitor else {}),
        },
        outputs={
            "student": "student.safetensors",
            "generator": "generator.safetensors",
            "ema_generator": "ema_generator.safetensors",
            "curves": "curves.jsonl",
            "bank": "bank.npz",
            "picture": "samples.png",
        },
        packages=(
            *_TORCH,
            *_library(teacher),
            *_library(student),
            *(_data_packages(settings.data) if has_monitor else ()),
        ),
        code=(
            *registry.code_modules(teacher),
            *registry.code_modules(student),
            *(
                ("stages.distill.monitor", loader_module(settings.data.source))
                if has_monitor
                else ()
            ),
        ),
        # A student that does not fit is refused before a teacher is trained for it.
        requires=_network("student", student, student_code, settings, root),
    )


def _export(settings: Settings, code: Mapping[str, External]) -> Stage:
    arch = settings.student.arch
    return Stage(
        name="export",
        run="stages.export.stage:run",
        settings=("export", "build.backend"),
        inputs=("distill/student", "distill/bank"),
        externals=code,
        outputs={"onnx": "student.onnx"},
        packages=(*_TORCH, "onnx", "onnxscript", *_library(arch)),
        code=registry.code_modules(arch),
    )


def _build(settings: Settings) -> Stage:
    build = settings.build
    infos = [BACKENDS[name] for name in selection.backends_used(build)]
    is_measured = selection.is_chosen_by_measuring(build)
    facts = ["gpu", "driver", *(("cpu", "cpu_features") if is_measured else ())]
    facts += [fact for info in infos for fact in info.facts if fact not in facts]
    return Stage(
        name="build",
        run="stages.build.stage:run",
        settings=("build", "validate.threads"),
        inputs=("export/onnx", "distill/bank"),
        outputs={
            "engine": selection.engine_file(build),
            "manifest": "manifest.json",
            "candidates": "candidates.json",
            # What stands for an engine that cannot run where it is built.
            **({"graph": "graph.onnx"} if build.targets else {}),
        },
        packages=("onnx", "onnxruntime-gpu|onnxruntime", *_distributions(infos)),
        facts=tuple(dict.fromkeys(facts)),
        code=tuple(info.module for info in infos),
        requires=selection.requirements(build),
    )


def _distributions(infos: Sequence[BackendInfo]) -> tuple[str, ...]:
    """Return what the backends are distributed as, without ONNX Runtime, which all use."""
    return tuple(i.distribution for i in infos if i.needs != "onnxruntime")


def _validate(
    settings: Settings,
    root: Path,
    teacher_code: Mapping[str, External],
    student_code: Mapping[str, External],
) -> Stage:
    infos = [BACKENDS[name] for name in selection.backends_used(settings.build)]
    teacher, student = settings.teacher.arch, settings.student.arch
    has_bank_only = settings.validate.images == "bank"
    data = {} if has_bank_only else _data(settings.data, root)
    return Stage(
        name="validate",
        run="stages.validate.stage:run",
        settings=("validate", "export.opset", *(() if has_bank_only else _DATA)),
        inputs=(
            *(("distill/bank",) if has_bank_only else ()),
            "teacher/weights",
            "distill/student",
            "export/onnx",
            "build/engine",
            "build/manifest",
            *(("build/graph",) if settings.build.targets else ()),
        ),
        externals={**data, **teacher_code, **student_code},
        outputs={"measurements": "measurements.json", "samples": "samples.json"},
        packages=(
            *_TORCH,
            "onnx",
            "onnxruntime-gpu|onnxruntime",
            *_distributions(infos),
            "scipy",
            *_data_packages(settings.data),
            *_library(teacher),
            *_library(student),
        ),
        facts=("cpu", "gpu", "driver"),
        code=(
            *registry.code_modules(teacher),
            *registry.code_modules(student),
            *(info.module for info in infos),
            loader_module(settings.data.source),
        ),
    )


def _data(data: Data, root: Path) -> dict[str, External]:
    if data.source == "digits":
        return {}
    fetched = SPECS[data.source].fetched if data.download else ()
    fetch = Fetch(call="stages.data.images:download", leaves=(*fetched, "train"))
    folder = External(
        path=root / data.root,
        needed_by="data.root",
        remedy="madpipe run downloads it" if fetched else where_of(data),
        fetch=fetch if data.download else None,
    )
    return {"data": folder}


def _data_packages(data: Data) -> tuple[str, ...]:
    return ("scikit-learn",) if data.source == "digits" else ("torchvision", "pillow")


def _code(arch: str, who: str, root: Path) -> dict[str, External]:
    file = registry.source_file(arch)
    return {f"{who}_code": External(path=root / file, needed_by=f"{who}.arch")} if file else {}


def _network(
    who: str, arch: str, code: Mapping[str, External], settings: Settings, root: Path
) -> tuple[Requirement, ...]:
    file = code.get(f"{who}_code")
    # With the bank alone the settings name no data: the teacher's card says what it takes.
    has_data = settings.validate.images != "bank"
    needs = NeedsNetwork(
        setting=f"{who}.arch",
        arch=arch,
        code=file.path if file else None,
        data=settings.data if has_data else None,
        root=root / settings.data.root,
    )
    library = registry.package(arch)
    if library is None:
        return (needs,)
    install = f"pip install {library}"
    return NeedsModule(setting=f"{who}.arch", module=library, install=install), needs


def _library(arch: str) -> tuple[str, ...]:
    name = registry.package(arch)
    return (name,) if name else ()

"""The stages of madpipe, declared: what a stage reads, leaves and depends on.

A pure function of the settings that imports nothing heavy; the code of a stage is named, and
imported only when it has to run. That distill cannot reach an image is to be read here: it
declares the teacher's weights as its only input, and no slice of [data]. Where distill.images names
a folder, that folder is declared, and still nothing of [data].
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from models import registry
from pipeline.errors import SettingsFault
from pipeline.paths import expanded
from pipeline.requirements import NeedsModule, Requirement
from pipeline.settings import Data, Settings, Teacher
from pipeline.stage import External, Stage
from pipeline.weight_names import hub_of
from stages.completed_settings import complete, located_student, located_teacher
from stages.data import classes as class_orders
from stages.data.datasets import SPECS, loader_module
from stages.engines import selection
from stages.engines.base import BACKENDS, BackendInfo
from stages.hubs import advice
from stages.hubs.cache_folders import cached, path_of
from stages.hubs.records import VALUE
from stages.hubs.resolve import CONFIG, repo_file
from stages.networks import program_kind
from stages.preflight import NeedsNetwork
from stages.preflight_images import NeedsImages

_TORCH = ("torch", "numpy")
_UNLABELLED_OUTPUTS = {"images": "images.json", "held_back": "held_back.npz"}
"""What distill leaves of unlabelled images."""
_DATA = tuple(f"data.{name}" for name in Data.__struct_fields__ if name != "download")
_TEACHER = tuple(f"teacher.{name}" for name in Teacher.__struct_fields__ if name != "download")
"""Images and weights are the same whether they were downloaded or not."""
_TEACHER_FILE = tuple(f"teacher.{name}" for name in ("arch", "strict", "output", "input"))
"""What decides how weights are taken that nobody trains here."""


def declare(settings: Settings, root: Path) -> tuple[Stage, ...]:
    """Return the five stages for these settings, completed by what named weights record.

    Args:
        settings: The whole of them; each stage declares its slices.
        root: The folder that relative paths in the settings start from.

    Raises:
        SettingsFault: The name of an architecture, of a network or GPU, or of weights can name
            nothing; names all such faults.
        UnavailableError: The package that knows the name of weights is not installed.
    """
    settings = complete(settings, root)
    faults = []
    for key, arch in (("teacher", settings.teacher.arch), ("student", settings.student.arch)):
        if key == "teacher" and program_kind.kind_of(arch):
            continue
        try:
            registry.check_name(arch)
        except registry.UnknownArchitecture as error:
            faults.append(((key, "arch"), error.wrong, error.remedy))
    if unsupported := selection.unsupported_target(settings.build):
        faults.append((("build", "targets"), unsupported.wrong, unsupported.remedy))
    if faults:
        raise SettingsFault(faults)
    teacher = _network("teacher", settings.teacher.arch, settings, root)
    student = _network("student", settings.student.arch, settings, root)
    images = _images(settings.data, root)
    return (
        _teacher(settings, root, teacher, images),
        _distill(settings, root, teacher, student, images),
        _export(student),
        _build(settings),
        _validate(settings, root, _combined(teacher, student), images),
    )


class _Use(NamedTuple):
    """What the use of a network or of images adds to the declaration of a stage."""

    settings: tuple[str, ...] = ()
    externals: Mapping[str, External] = MappingProxyType({})
    packages: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    requires: tuple[Requirement, ...] = ()
    """What a stage that builds the network itself checks; not combined."""


def _combined(*uses: _Use) -> _Use:
    return _Use(
        settings=tuple(name for use in uses for name in use.settings),
        externals={name: external for use in uses for name, external in use.externals.items()},
        packages=tuple(name for use in uses for name in use.packages),
        code=tuple(module for use in uses for module in use.code),
    )


def _network(role: str, arch: str, settings: Settings, root: Path) -> _Use:
    """Return the use of the teacher's or the student's network, and that it has to fit."""
    setting = f"{role}.arch"
    file, library = registry.source_file(arch), registry.package(arch)
    code = expanded(str(file), root) if file else None
    # With the bank alone the settings name no data: the teacher's card says what it takes.
    data = settings.data if settings.validate.images != "bank" else None
    start = _weights("student", settings, root) if role == "student" else None
    weights, located = _weights("teacher", settings, root), located_teacher(settings, root)
    own = located if role == "teacher" else located_student(settings, root)
    if own is not None and own.config is not None:
        code = path_of(own.config)
    fits = NeedsNetwork(
        setting=setting,
        arch=arch,
        code=code,
        data=data,
        root=expanded(settings.data.root, root),
        classes=class_orders.file_of(settings.data, root),
        teacher_weights=weights.path if weights else None,
        teacher_classes=located.weights.classes if located else (),
        output=settings.teacher.output if role == "teacher" else None,
        program=settings.teacher if program_kind.kind_of(settings.teacher.arch) else None,
        start_weights=start.path if start else None,
    )
    use = _Use(
        externals={f"{role}_code": External(path=code, needed_by=setting)} if code else {},
        code=("models.programs.program",)
        if program_kind.kind_of(arch)
        else (registry.code_modules(arch)),
        requires=(fits,),
    )
    if library is None:
        return use
    installed = NeedsModule(setting=setting, module=library, install=f"pip install {library}")
    return use._replace(packages=(library,), requires=(installed, fits))


def _weights(role: str, settings: Settings, root: Path) -> External | None:
    """Return the file of the teacher's weights, or of those that the student starts from.

    None where the settings name none. Of weights by name it is the one in the cache of their hub.
    """
    table = settings.teacher if role == "teacher" else settings.student
    setting, weights = f"{role}.weights", table.weights
    if weights is None:
        return None
    if hub_of(weights) is None:
        path = expanded(weights, root)
        if role == "student":
            return External(path=path, needed_by=setting)
        is_unchecked = settings.validate.images == "bank"
        alternative = "" if is_unchecked else ", or leave the setting out to train one"
        remedy = f"put the teacher's weights there{alternative}"
        return External(path=path, needed_by=setting, remedy=remedy)
    located = (located_teacher if role == "teacher" else located_student)(settings, root)
    # Before its config.json is there, nobody knows what else a repository has.
    files = located.files if located else (repo_file(weights.partition(":")[2], CONFIG, setting),)
    return External(
        path=cached(files) or path_of(files[0]),
        needed_by=setting,
        remedy=advice.absent(files[0], setting, is_download=table.download),
        fetch=f"stages.hubs.download:{role}" if table.download else None,
    )


def _images(data: Data, root: Path) -> _Use:
    """Return the use of labelled images."""
    code = (loader_module(data.source),)
    order: dict[str, External] = {}
    if file := class_orders.file_of(data, root):
        order["classes"] = External(path=file, needed_by="data.classes")
    if data.source == "digits":
        return _Use(_DATA, order, packages=("scikit-learn",), code=code)
    fetched = SPECS[data.source].fetched if data.download else ()
    folder = External(
        path=expanded(data.root, root),
        needed_by="data.root",
        remedy="madpipe run downloads it" if fetched else SPECS[data.source].where,
        fetch="stages.data.images:download" if data.download else None,
        fetched=(*fetched, "train"),
    )
    return _Use(_DATA, {"data": folder, **order}, ("torchvision", "pillow"), code)


def _unlabelled(settings: Settings, root: Path) -> _Use:
    """Return the use of images without labels by distill, nothing where the settings name none."""
    if settings.distill.images is None:
        return _Use()
    folder = expanded(settings.distill.images, root)
    external = External(path=folder, needed_by="distill.images")
    # Before the first stage, and not in distill, which may read no labelled image.
    is_labelled = settings.validate.images != "bank"
    apart = NeedsImages(
        folder=folder,
        data=settings.data if is_labelled else None,
        root=expanded(settings.data.root, root),
    )
    code = ("stages.data.unlabelled",)
    return _Use((), {"images": external}, ("pillow",), code, requires=(apart,))


def _teacher(settings: Settings, root: Path, network: _Use, images: _Use) -> Stage:
    """Return the stage that trains the teacher or checks its weights from a file.

    Where there is no labelled image to check them, the weights are used as they are.
    """
    weights = _weights("teacher", settings, root)
    is_unchecked = weights is not None and settings.validate.images == "bank"
    if is_unchecked:
        named = (
            "source", "classes", "image_size_px", "resize_px", "interpolation", "mean", "std",
        )  # fmt: skip
        images = _Use(settings=tuple(f"data.{name}" for name in named))
    use = _combined(network, images)
    externals = dict(use.externals)
    if weights is not None:
        externals["teacher_weights"] = weights
        for number, name in enumerate(program_kind.beside(weights.path)):
            externals[f"teacher_weights_data{number}"] = External(
                path=weights.path.parent / name,
                needed_by="teacher.weights",
                remedy="put it beside the file that names it, or export with external_data=False",
            )
    own_settings = ("seed", *_TEACHER) if weights is None else _TEACHER_FILE
    located = located_teacher(settings, root)
    return Stage(
        name="teacher",
        run=f"stages.teacher.{'from_weights' if is_unchecked else 'stage'}:run",
        settings=(*own_settings, *use.settings),
        externals=externals,
        values={VALUE: msgspec.to_builtins(located.weights)} if located else {},
        outputs={"weights": "teacher.safetensors"},
        packages=(*_TORCH, *use.packages),
        code=use.code,
        requires=() if is_unchecked else network.requires,
    )


def _distill(settings: Settings, root: Path, teacher: _Use, student: _Use, images: _Use) -> Stage:
    use = _combined(teacher, student)
    if (start := _weights("student", settings, root)) is not None:
        use = _combined(use, _Use(externals={"student_weights": start}))
    # Only a monitor set that was switched on makes images reachable, and then visibly so.
    if settings.distill.monitor != "off":
        use = _combined(use, _Use(code=("stages.distill.monitor",)), images)
    # The same holds for images without labels, which are no part of [data].
    unlabelled = _unlabelled(settings, root)
    use = _combined(use, unlabelled)
    return Stage(
        name="distill",
        run="stages.distill.stage:run",
        # Where it starts counts by its bytes, not by its name.
        settings=("seed", "student.arch", "distill", *use.settings),
        inputs=("teacher/weights",),
        externals=use.externals,
        outputs={
            "student": "student.safetensors",
            "generator": "generator.safetensors",
            "ema_generator": "ema_generator.safetensors",
            "curves": "curves.jsonl",
            "bank": "bank.npz",
            "picture": "samples.png",
            **(_UNLABELLED_OUTPUTS if settings.distill.images else {}),
        },
        packages=(*_TORCH, *use.packages),
        code=use.code,
        # A student that does not fit is refused before a teacher is trained for it.
        requires=(*student.requires, *unlabelled.requires),
    )


def _export(student: _Use) -> Stage:
    return Stage(
        name="export",
        run="stages.export.stage:run",
        settings=("export", "build.backend"),
        inputs=("distill/student", "distill/bank"),
        externals=student.externals,
        outputs={"onnx": "student.onnx"},
        packages=(*_TORCH, "onnx", "onnxscript", *student.packages),
        code=student.code,
    )


def _build(settings: Settings) -> Stage:
    build = settings.build
    infos = [BACKENDS[name] for name in selection.backends_used(build)]
    is_measured = selection.is_chosen_by_measuring(build)
    facts = ["gpu", "driver", *(("cpu", "cpu_features") if is_measured else ())]
    facts += [fact for info in infos for fact in info.facts]
    # Only int8 that may be trained depends on the generators, and needs torch.
    training = ("stages.build.int8_training",) if selection.may_train_int8(build) else ()
    return Stage(
        name="build",
        run="stages.build.stage:run",
        settings=("build", "validate.threads", *(("seed",) if training else ())),
        inputs=(
            "export/onnx",
            "distill/bank",
            *(("distill/held_back",) if settings.distill.images else ()),
            *(("distill/generator", "distill/ema_generator") if training else ()),
        ),
        outputs={
            "engine": selection.engine_file(build),
            "manifest": "manifest.json",
            "candidates": "candidates.json",
            # What stands for an engine that cannot run where it is built.
            **({"graph": "graph.onnx"} if build.targets else {}),
        },
        packages=(*_distributions(infos), *(("torch",) if training else ())),
        facts=tuple(dict.fromkeys(facts)),
        code=(*(info.module for info in infos), *training),
        requires=selection.requirements(build),
    )


def _distributions(infos: Sequence[BackendInfo]) -> tuple[str, ...]:
    """Return what the backends are distributed as, after ONNX Runtime, which all use."""
    others = (info.distribution for info in infos if info.needs != "onnxruntime")
    return "onnx", "onnxruntime-gpu|onnxruntime", *others


def _validate(settings: Settings, root: Path, networks: _Use, images: _Use) -> Stage:
    infos = [BACKENDS[name] for name in selection.backends_used(settings.build)]
    has_bank_only = settings.validate.images == "bank"
    use = networks if has_bank_only else _combined(networks, images)
    unlabelled_outputs = _UNLABELLED_OUTPUTS if settings.distill.images else {}
    return Stage(
        name="validate",
        run="stages.validate.stage:run",
        settings=("validate", "export.opset", *use.settings),
        inputs=(
            *(("distill/bank",) if has_bank_only else ()),
            *(f"distill/{name}" for name in unlabelled_outputs),
            "teacher/weights",
            "distill/student",
            "export/onnx",
            "build/engine",
            "build/manifest",
            *(("build/graph",) if settings.build.targets else ()),
        ),
        externals=use.externals,
        outputs={"measurements": "measurements.json", "samples": "samples.json"},
        packages=(*_TORCH, *_distributions(infos), "scipy", *use.packages),
        facts=("cpu", "gpu", "driver"),
        code=(*use.code, *(info.module for info in infos)),
        # Also where distill is stored and other images validate than before.
        requires=_unlabelled(settings, root).requires,
    )

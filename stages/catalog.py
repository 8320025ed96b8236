"""The stages of madpipe, declared: what a stage reads, leaves and depends on.

A pure function of the settings that imports nothing heavy; the code of a stage is named, and
imported only when it has to run. That distill cannot reach an image is to be read here: it
declares the teacher's weights as its only input, and no slice of [data]. Where distill.images names
a folder, that folder is declared, and still nothing of [data].
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from models import registry
from pipeline.errors import SettingsFault
from pipeline.settings import Build, Settings, Teacher
from pipeline.stage import External, Stage
from stages.completed_settings import complete, located_teacher
from stages.declared_uses import Use, combined, of_images, of_network, of_unlabelled, of_weights
from stages.engines import selection
from stages.engines.base import BACKENDS, BackendInfo
from stages.engines.providers import PROVIDERS
from stages.hubs.records import VALUE
from stages.networks import program_kind

_TORCH = ("torch", "numpy")
_EXPORT = ("onnx", "onnxscript", "onnx-ir")
"""What torch writes ONNX files with."""
_RUNTIME = "onnxruntime-gpu|onnxruntime"
"""What runs ONNX files."""
_UNLABELLED_OUTPUTS = {"images": "images.json", "held_back": "held_back.npz"}
"""What distill leaves of unlabelled images."""
_GENERATORS = ("distill/generator", "distill/ema_generator")
_TEACHER = tuple(f"teacher.{name}" for name in Teacher.__struct_fields__ if name != "download")
"""Weights are the same whether they were downloaded or not."""
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
    teacher = of_network("teacher", settings.teacher.arch, settings, root)
    student = of_network("student", settings.student.arch, settings, root)
    images = of_images(settings.data, root)
    return (
        _teacher(settings, root, teacher, images),
        _distill(settings, root, teacher, student, images),
        _export(settings, student),
        _build(settings),
        _validate(settings, root, combined(teacher, student), images),
    )


def _teacher(settings: Settings, root: Path, network: Use, images: Use) -> Stage:
    """Return the stage that trains the teacher or checks its weights from a file.

    Where there is no labelled image to check them, the weights are used as they are.
    """
    weights = of_weights("teacher", settings, root)
    is_unchecked = weights is not None and settings.validate.images == "bank"
    if is_unchecked:
        named = (
            "source", "classes", "image_size_px", "resize_px", "interpolation", "mean", "std",
        )  # fmt: skip
        images = Use(settings=tuple(f"data.{name}" for name in named))
    use = combined(network, images)
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


def _distill(settings: Settings, root: Path, teacher: Use, student: Use, images: Use) -> Stage:
    use = combined(teacher, student)
    if (start := of_weights("student", settings, root)) is not None:
        use = combined(use, Use(externals={"student_weights": start}))
    # Only a monitor set that was switched on makes images reachable, and then visibly so.
    if settings.distill.monitor != "off":
        use = combined(use, Use(code=("stages.distill.monitor",)), images)
    # The same holds for images without labels, which are no part of [data].
    unlabelled = of_unlabelled(settings, root)
    use = combined(use, unlabelled)
    return Stage(
        name="distill",
        run="stages.distill.stage:run",
        # Where it starts counts by its bytes, not by its name.
        settings=("seed", "student.arch", "distill", "bank", *use.settings),
        inputs=("teacher/weights",),
        externals=use.externals,
        outputs={
            "student": "student.safetensors",
            "generator": "generator.safetensors",
            "ema_generator": "ema_generator.safetensors",
            "curves": "curves.jsonl",
            "bank": "bank.npz" if settings.bank.keep else "bank.json",
            **({"picture": "samples.png"} if settings.bank.keep else {}),
            **(_UNLABELLED_OUTPUTS if settings.distill.images else {}),
        },
        packages=(*_TORCH, *(("pillow",) if settings.bank.keep else ()), *use.packages),
        code=use.code,
        # A student that does not fit is refused before a teacher is trained for it.
        requires=(*student.requires, *unlabelled.requires),
    )


def _bank(settings: Settings) -> tuple[str, ...]:
    """Return the inputs that hold the bank: its file, or how to draw it again and with what."""
    return ("distill/bank", *(() if settings.bank.keep else _GENERATORS))


def _bank_code(settings: Settings) -> tuple[str, ...]:
    """Return the module that draws a bank again, where none is kept; it needs torch."""
    return () if settings.bank.keep else ("stages.drawn_bank",)


def _export(settings: Settings, student: Use) -> Stage:
    return Stage(
        name="export",
        run="stages.export.stage:run",
        settings=("export", "build.backend"),
        inputs=("distill/student", *_bank(settings)),
        externals=student.externals,
        outputs={"onnx": "student.onnx"},
        packages=(*_TORCH, *_EXPORT, _RUNTIME, *student.packages),
        code=(*student.code, *_bank_code(settings)),
    )


def _build(settings: Settings) -> Stage:
    build = settings.build
    infos = [BACKENDS[name] for name in selection.backends_used(build)]
    is_measured = selection.is_chosen_by_measuring(build)
    facts = ["gpu", "driver", *(("cpu", "cpu_features") if is_measured else ())]
    facts += [fact for info in infos for fact in info.facts]
    # Only int8 that may be trained, or a bank that is not kept, depends on the generators, and
    # needs torch.
    training = ("stages.build.int8_training",) if selection.may_train_int8(build) else ()
    with_torch = (*training, *_bank_code(settings))
    generators = _GENERATORS if training else ()
    return Stage(
        name="build",
        run="stages.build.stage:run",
        settings=(
            "build",
            "validate.threads",
            *(("seed", "distill.ema_batch_norm") if training else ()),
        ),
        inputs=(
            "export/onnx",
            *dict.fromkeys((*_bank(settings), *generators)),
            *(("distill/held_back",) if settings.distill.images else ()),
        ),
        outputs={
            "engine": selection.engine_file(build),
            "manifest": "manifest.json",
            "candidates": "candidates.json",
            # What stands for an engine that cannot run where it is built.
            **({"graph": "graph.onnx"} if build.targets else {}),
        },
        packages=("numpy", *_distributions(infos, build), *(("torch",) if with_torch else ())),
        facts=tuple(dict.fromkeys(facts)),
        code=(*(info.module for info in infos), *with_torch),
        requires=selection.requirements(build),
    )


def _distributions(infos: Sequence[BackendInfo], build: Build) -> tuple[str, ...]:
    """Return what the backends are distributed as, after ONNX Runtime, which all use.

    A device may be an execution provider of ONNX Runtime's that brings a package of its own.
    """
    others = [info.distribution for info in infos]
    if build.device in PROVIDERS:
        others.append(PROVIDERS[build.device].distribution)
    return tuple(dict.fromkeys(["onnx", _RUNTIME, *others]))


def _keeps_pictures(settings: Settings) -> bool:
    """Return whether validate leaves images: real ones, or with the bank synthetic ones."""
    is_real = settings.validate.images != "bank"
    return settings.validate.pictures > 0 and (is_real or settings.bank.keep)


def _validate(settings: Settings, root: Path, networks: Use, images: Use) -> Stage:
    infos = [BACKENDS[name] for name in selection.backends_used(settings.build)]
    has_bank_only = settings.validate.images == "bank"
    use = networks if has_bank_only else combined(networks, images)
    unlabelled_outputs = _UNLABELLED_OUTPUTS if settings.distill.images else {}
    return Stage(
        name="validate",
        run="stages.validate.stage:run",
        settings=("validate", "export.opset", *use.settings),
        inputs=(
            *(_bank(settings) if has_bank_only else ()),
            *(f"distill/{name}" for name in unlabelled_outputs),
            "teacher/weights",
            "distill/student",
            "export/onnx",
            "build/engine",
            "build/manifest",
            *(("build/graph",) if settings.build.targets else ()),
        ),
        externals=use.externals,
        outputs={
            "measurements": "measurements.json",
            "samples": "samples.json",
            **({"pictures": "pictures.json"} if _keeps_pictures(settings) else {}),
        },
        packages=(
            *_TORCH,
            *_distributions(infos, settings.build),
            *(_EXPORT if settings.validate.teacher_engine else ()),
            "scipy",
            "pillow",
            *use.packages,
        ),
        facts=("cpu", "cpu_features", "gpu", "driver"),
        code=(
            *use.code,
            *(info.module for info in infos),
            *(_bank_code(settings) if has_bank_only else ()),
        ),
        # Also where distill is stored and other images validate than before.
        requires=of_unlabelled(settings, root).requires,
    )

"""What the use of a network or of images adds to the declaration of a stage. Light."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from models import registry
from pipeline.paths import expanded
from pipeline.requirements import NeedsModule, Requirement
from pipeline.settings import Data, Settings
from pipeline.stage import External
from pipeline.weight_names import hub_of
from stages.completed_settings import located_student, located_teacher
from stages.data import classes as class_orders
from stages.data.datasets import SPECS, loader_module
from stages.data.tree import is_seen, may_be_image, may_be_labelled
from stages.hubs import advice
from stages.hubs.cache_folders import cached, path_of
from stages.hubs.resolve import CONFIG, repo_file
from stages.networks import program_kind
from stages.preflight import NeedsNetwork
from stages.preflight_images import NeedsImages

_DATA = tuple(f"data.{name}" for name in Data.__struct_fields__ if name not in ("download", "root"))
"""Images are the same whether they were downloaded or not, and wherever they lie."""


class Use(NamedTuple):
    """What the use of a network or of images adds to the declaration of a stage."""

    settings: tuple[str, ...] = ()
    externals: Mapping[str, External] = MappingProxyType({})
    packages: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    requires: tuple[Requirement, ...] = ()
    """What a stage that builds the network itself checks; not combined."""


def combined(*uses: Use) -> Use:
    """Return what several uses add together, but for what they require."""
    return Use(
        settings=tuple(name for use in uses for name in use.settings),
        externals={name: external for use in uses for name, external in use.externals.items()},
        packages=tuple(name for use in uses for name in use.packages),
        code=tuple(module for use in uses for module in use.code),
    )


def of_network(role: str, arch: str, settings: Settings, root: Path) -> Use:
    """Return the use of the teacher's or the student's network, and that it has to fit."""
    setting = f"{role}.arch"
    file, library = registry.source_file(arch), registry.package(arch)
    code = expanded(str(file), root) if file else None
    # With the bank alone the settings name no data: the teacher's card says what it takes.
    data = settings.data if settings.validate.images != "bank" else None
    start = of_weights("student", settings, root) if role == "student" else None
    weights, located = of_weights("teacher", settings, root), located_teacher(settings, root)
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
    kind = program_kind.kind_of(arch)
    use = Use(
        externals={f"{role}_code": External(path=code, needed_by=setting)} if code else {},
        packages=("onnx",) if kind == "onnx" else (),
        code=("models.programs.program",) if kind else registry.code_modules(arch),
        requires=(fits,),
    )
    if library is None:
        return use
    installed = NeedsModule(setting=setting, module=library, install=f"pip install {library}")
    return use._replace(packages=(library,), requires=(installed, fits))


def of_weights(role: str, settings: Settings, root: Path) -> External | None:
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


def of_images(data: Data, root: Path) -> Use:
    """Return the use of labelled images."""
    code = (loader_module(data.source),)
    files: dict[str, External] = {}
    if file := class_orders.file_of(data, root):
        files["classes"] = External(path=file, needed_by="data.classes", is_path=True)
    if data.source == "digits":
        return Use(_DATA, files, packages=("scikit-learn",), code=code)
    # It may have any name, and lie anywhere.
    labels = expanded(data.root, root) / data.labels
    if data.labels and labels.is_file():
        files["labels"] = External(path=labels, needed_by="data.labels")
    fetched = SPECS[data.source].fetched if data.download else ()
    folder = External(
        path=expanded(data.root, root),
        counts=may_be_labelled if data.source == "folder" else is_seen,
        needed_by="data.root",
        remedy="madpipe run downloads it" if fetched else SPECS[data.source].where,
        fetch="stages.data.images:download" if data.download else None,
        fetched=(*fetched, "train"),
    )
    return Use(_DATA, {"data": folder, **files}, ("torchvision", "pillow"), code)


def of_unlabelled(settings: Settings, root: Path) -> Use:
    """Return the use of images without labels by distill, nothing where the settings name none."""
    if settings.distill.images is None:
        return Use()
    folder = expanded(settings.distill.images, root)
    external = External(path=folder, needed_by="distill.images", counts=may_be_image, is_path=True)
    # Before the first stage, and not in distill, which may read no labelled image.
    is_labelled = settings.validate.images != "bank"
    apart = NeedsImages(
        folder=folder,
        data=settings.data if is_labelled else None,
        root=expanded(settings.data.root, root),
    )
    code = ("stages.data.unlabelled",)
    return Use((), {"images": external}, ("pillow",), code, requires=(apart,))

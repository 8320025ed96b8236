"""Settings completed by what weights that are named record: architecture, and how images are read.

Light. What the settings say comes first, then the hub's record of the teacher's weights, then what
is usual for the source. Everything that runs gets the completed settings, so that there is one
answer, which the keys hold: names of the same weights give the same keys.
"""

from pathlib import Path

import msgspec

from pipeline.image_size import compact, sides_px
from pipeline.settings import Data, Settings
from pipeline.weight_names import hub_of
from stages.hubs import resolve
from stages.hubs.records import Located, NamedWeights
from stages.teacher_arch import student_arch, teacher_arch


def complete(settings: Settings, root: Path) -> Settings:
    """Return the settings with the architectures and the [data] of weights by name.

    Completed settings stay as they are.

    Raises:
        SettingsFault: A name is of no weights, or contradicts the settings.
        UnavailableError: The package that knows a name is not installed.
    """
    teacher = msgspec.structs.replace(settings.teacher, arch=teacher_arch(settings.teacher, root))
    student = msgspec.structs.replace(settings.student, arch=student_arch(settings.student, root))
    located = located_teacher(settings, root)
    data = _with_defaults(settings.data, located.weights) if located else settings.data
    return msgspec.structs.replace(settings, teacher=teacher, student=student, data=data)


def located_teacher(settings: Settings, root: Path) -> Located | None:
    """Return what the name of the teacher's weights stands for; see `hubs.resolve.locate`."""
    return _located("teacher", settings.teacher.weights, settings.teacher.arch, root)


def located_student(settings: Settings, root: Path) -> Located | None:
    """Return what the name of the weights that the student starts from stands for."""
    return _located("student", settings.student.weights, settings.student.arch, root)


def _located(role: str, weights: str | None, arch: str, root: Path) -> Located | None:
    if weights is None or hub_of(weights) is None:
        return None
    return resolve.locate(weights, arch, f"{role}.weights", root)


def _with_defaults(data: Data, weights: NamedWeights) -> Data:
    """Return the table with what the weights take where it says nothing."""
    own_px = compact((weights.image_size_px, weights.width_px or weights.image_size_px))
    size_px = data.image_size_px or own_px
    # Images of another size than the hub's are not known to be scaled to more than that.
    resize_px = data.resize_px
    if resize_px is None and size_px == own_px:
        resize_px = weights.resize_px or min(sides_px(size_px))
    has_own = bool(data.mean or data.std)
    return msgspec.structs.replace(
        data,
        image_size_px=size_px,
        resize_px=resize_px,
        interpolation=data.interpolation or weights.interpolation,
        mean=data.mean if has_own else weights.mean,
        std=data.std if has_own else weights.std,
    )

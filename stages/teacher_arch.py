"""Which network the teacher is: what its weights file is itself, or else what the settings name.

Light: declarations ask here.
"""

from pathlib import Path

from pipeline.errors import SettingsFault
from pipeline.paths import expanded
from pipeline.settings import Teacher
from stages.networks.program_kind import PREFIX, program_kind

_DEFAULT = Teacher().arch


def teacher_arch(teacher: Teacher, root: Path) -> str:
    """Return the name of the teacher's architecture, `file:KIND` where its file is a program.

    `root` is the folder that relative paths in the settings start from.

    Raises:
        SettingsFault: An architecture is named for a file that has its own.
    """
    if teacher.weights is None:
        return teacher.arch
    kind = program_kind(expanded(teacher.weights, root))
    if kind is None:
        return teacher.arch
    if teacher.arch != _DEFAULT:
        wrong = f"names a network, and {teacher.weights} holds its own ({teacher.arch})"
        raise SettingsFault([(("teacher", "arch"), wrong, "leave it out")])
    return f"{PREFIX}{kind}"

"""Which architecture the teacher, or the student, has: the one that the settings name, or its own.

Light: asked by declarations. Weights by name bring their architecture.
"""

from pathlib import Path

from pipeline.errors import SettingsFault
from pipeline.settings import Student, Teacher
from pipeline.weight_names import hub_of
from stages.hubs import resolve


def teacher_arch(teacher: Teacher, root: Path) -> str:
    """Return the architecture of the teacher.

    Args:
        teacher: The table of the settings.
        root: The folder that relative paths in the settings start from.

    Raises:
        SettingsFault: `teacher.arch` contradicts the weights, or these name nothing.
    """
    return _effective("teacher", teacher, Teacher().arch, root)


def student_arch(student: Student, root: Path) -> str:
    """Return the architecture of the student, as for the teacher."""
    return _effective("student", student, Student().arch, root)


def _effective(role: str, table: Teacher | Student, default: str, root: Path) -> str:
    if table.weights is None or hub_of(table.weights) is None:
        return table.arch
    own = resolve.own_arch(table.weights, table.arch, f"{role}.weights", root)
    if own is None:  # not downloaded yet, without which nothing runs
        return table.arch
    if table.arch not in (default, own):
        wrong = f"contradicts {role}.weights ({table.arch}; {table.weights} is of {own})"
        raise SettingsFault([((role, "arch"), wrong, f"leave {role}.arch out")])
    return own

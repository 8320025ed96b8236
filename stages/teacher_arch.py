"""Which architecture the teacher, or the student, has: the one that the settings name, or its own.

Light: asked by declarations. Weights by name bring their architecture, and a teacher's file that
is a program is one.
"""

from pathlib import Path

from pipeline.errors import SettingsFault
from pipeline.paths import expanded
from pipeline.settings import Student, Teacher
from pipeline.weight_names import hub_of
from stages.hubs import resolve
from stages.networks.program_kind import PREFIX, program_kind


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
    if table.weights is None:
        return table.arch
    if hub_of(table.weights) is None:
        kind = program_kind(expanded(table.weights, root)) if role == "teacher" else None
        if kind is None:
            return table.arch
        return _checked(role, table, default, f"{PREFIX}{kind}")
    own = resolve.own_arch(table.weights, table.arch, f"{role}.weights", root)
    if own is None:  # not downloaded yet, without which nothing runs
        return table.arch
    return _checked(role, table, default, own)


def _checked(role: str, table: Teacher | Student, default: str, own: str) -> str:
    """Return the architecture that weights bring; SettingsFault where another is named."""
    if table.arch not in (default, own):
        wrong = f"contradicts {role}.weights ({table.arch}; {table.weights} is of {own})"
        raise SettingsFault([((role, "arch"), wrong, f"leave {role}.arch out")])
    return own

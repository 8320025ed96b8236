"""Archives that torch reads, written anew so that torch reads what was checked and nothing else.

torch finds members whatever their case, takes any of several of one name, and knows formats that
may stand before an archive; none of that is left in a copy.
"""

import io
import zipfile
from collections.abc import Mapping

from models.programs.fault import UnusableProgram
from pipeline.declared_bytes import is_excessive

_ROOT = "archive"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest date that an archive can hold, so that the same members give the same bytes."""


def members(content: bytes) -> dict[str, bytes]:
    """Return the members of an archive of torch by their names below its one folder.

    Raises:
        UnusableProgram: It is not whole, or names are ambiguous.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            declared = sum(member.file_size for member in archive.infolist())
            is_whole = not is_excessive(declared, len(content))
            inside = {n.partition("/")[2]: archive.read(n) for n in names} if is_whole else {}
    except Exception as error:  # zipfile and zlib have many classes for what is damaged
        raise damaged() from error
    if not is_whole:
        raise UnusableProgram(
            f"describes far more than it holds ({declared} bytes in {len(content)})",
            "save it anew with torch",
        )
    if len({name.casefold() for name in names}) != len(names):
        raise UnusableProgram("holds two members of one name", "save it anew with torch")
    if len({name.partition("/")[0] for name in names}) != 1:
        raise UnusableProgram("is no archive of one folder", "save it anew with torch")
    return inside


def damaged(member: str = "") -> UnusableProgram:
    """Return the error for an archive that is not whole, with the member that shows it."""
    where = f" ({member})" if member else ""
    return UnusableProgram(f"is damaged, or not all of its file{where}", "copy the file again")


def packed(inside: Mapping[str, bytes]) -> bytes:
    """Return an archive with these members, by their names below its one folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in inside.items():
            archive.writestr(zipfile.ZipInfo(f"{_ROOT}/{name}", _EPOCH), content)
    return buffer.getvalue()

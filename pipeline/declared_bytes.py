"""How much a file says that it holds, against the bytes that it has: refused before it is unpacked.

A file of kilobytes may describe tensors or members of terabytes: zeros that are compressed, one
value that is repeated, a matrix whose entries are all left out.
"""

import io
import zipfile
from pathlib import Path

from pipeline.errors import StageError

_MOST_TIMES = 64
"""Files of weights and images hold at most a few times their bytes; of zeros it is a thousand."""
_ALWAYS_BYTES = 1 << 28
_GIB = 1 << 30


def is_excessive(declared: int, stored: int) -> bool:
    """Return whether so many bytes are far more than a file of `stored` bytes can mean."""
    return declared > max(_ALWAYS_BYTES, _MOST_TIMES * stored)


def check(declared: int, stored: int, path: Path, place: str, remedy: str) -> None:
    """Make sure that what has `stored` bytes may describe `declared` ones.

    Raises:
        StageError: It describes far more than it holds.
    """
    if is_excessive(declared, stored):
        raise StageError(
            place,
            f"describes far more than it holds ({path}: {declared / _GIB:.3g} GiB, of which "
            f"it has {stored} bytes)",
            remedy,
        )


def check_archive(content: bytes | Path, path: Path, place: str, remedy: str) -> None:
    """Make sure of that for all members of a zip archive; what is no archive is left to others.

    Raises:
        StageError: It describes far more than it holds.
    """
    try:
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        with zipfile.ZipFile(content if isinstance(content, Path) else io.BytesIO(content)) as file:
            declared = sum(member.file_size for member in file.infolist())
    except Exception:  # noqa: BLE001  (zipfile has many classes; whoever reads it says what is wrong)
        return
    check(declared, size, path, place, remedy)

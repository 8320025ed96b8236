"""Reading what lies on disk as JSON: whatever it holds, what is wrong is one kind of error.

msgspec and Python's json raise RecursionError for what is nested deep, and the former an error of
Unicode for a text that is none; a pipe in the place of a file would be waited for without end.
"""

import errno
import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

_T = TypeVar("_T")
_TOO_DEEP = "it is nested too deep"
_MOST_BYTES = 1 << 28
"""Predictions of five networks on 10 million images; as records they take ten times as much."""


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file; a link is followed.

    Raises:
        OSError: It is not there, is a pipe, a device or a folder, or far larger than any record.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "is a pipe or a device", str(path))
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise OSError(errno.EFBIG, f"is far larger than any record ({size} bytes)", str(path))
    return path.read_bytes()


def decode(content: bytes | str, kind: type[_T]) -> _T:
    """Return the record that a text in JSON holds.

    Raises:
        msgspec.DecodeError: It holds none of that kind.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except RecursionError as error:
        raise msgspec.DecodeError(_TOO_DEEP) from error
    except UnicodeDecodeError as error:
        message = f"it is not UTF-8 ({error.reason})"
        raise msgspec.DecodeError(message) from error


def loads(content: bytes | str) -> Any:
    """Return what a text in JSON says, as Python's own reader takes it.

    Raises:
        ValueError: It is none.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error

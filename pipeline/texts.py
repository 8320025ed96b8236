"""Text files as editors, spreadsheets and shells write them, and texts of others on a screen.

Names of classes, files, settings and messages of libraries may come from a stranger. A terminal
takes escape sequences in them for commands, and so does a log of GitHub Actions some lines.
"""

import codecs
import os
import re
from typing import Any

# Control characters but tabs, marks that turn the direction of text, separators of lines.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_WORKFLOW_LINE = re.compile(r"^(\s*)::")
_MOST_DIGITS = 4_000
"""Python converts 4,300 and refuses more."""
WORKFLOW_MARK = "##["
"""Begins a command in a log of GitHub Actions wherever in a line it stands."""


def decode(content: bytes) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 where it begins with the mark of that.

    Raises:
        UnicodeDecodeError: It is in neither.
    """
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-8-sig").replace("\r\n", "\n")


def whole_number(text: str) -> int | None:
    """Return the number that decimal digits stand for.

    None for other texts, and for more digits than Python converts.
    """
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def as_utf8(text: str) -> str:
    r"""Return a text in which the bytes of file names that are not UTF-8 read as `\xe9`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_utf8(path: str) -> bool:
    """Return whether a path is of text; names of files can be of any bytes."""
    return as_utf8(path) == path


def values_as_utf8(value: Any) -> Any:
    """Return lists and mappings with every text in them as `as_utf8` returns it.

    Strict JSON has no place for the others, and msgspec raises UnicodeEncodeError at them.
    """
    match value:
        case str():
            return as_utf8(value)
        case dict():
            return {values_as_utf8(name): values_as_utf8(item) for name, item in value.items()}
        case list() | tuple():
            return [values_as_utf8(item) for item in value]
        case _:
            return value


def printable(text: str) -> str:
    r"""Return a text as one line that a terminal takes for text: an escape reads as `\x1b`."""
    return _CONTROLS.sub(_escape, as_utf8(text))


def screen_text(text: str) -> str:
    """Return lines as a screen may show them: none is a command to a terminal or to a workflow."""
    return "\n".join(map(_screen_line, text.split("\n")))


def json_line(text: str) -> str:
    """Return JSON that is as safe to show as `screen_text` makes lines, and stands for the same."""
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text).replace(
        WORKFLOW_MARK, "#\\u0023["
    )


def _screen_line(line: str) -> str:
    line = printable(line)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        line = _WORKFLOW_LINE.sub(r"\1\\::", line).replace(WORKFLOW_MARK, r"#\#[")
    return line


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()

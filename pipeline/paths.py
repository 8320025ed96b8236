"""Paths as users write them in settings: from home, with variables, as on Windows."""

import os
from pathlib import Path


def expanded(text: str, root: Path = Path()) -> Path:
    """Return the path that a setting names, relative to `root`.

    `~` and `$VARIABLE` are replaced; backslashes stand for slashes where they would not otherwise
    and no file has them in its name.
    """
    text = os.path.expandvars(text)
    path = root / Path(text).expanduser()
    if os.sep == "/" and "\\" in text and not path.exists():
        return root / Path(text.replace("\\", "/")).expanduser()
    return path

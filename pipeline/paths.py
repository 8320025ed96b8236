"""Paths as users write them in settings: from home, with variables, as on Windows."""

import os
from pathlib import Path

HOME_FOLDER = ".madpipe"


def working_folder(root: Path) -> Path:
    """Return the working folder of the settings file that lies in `root`."""
    home = os.environ.get("MADPIPE_HOME")
    return expanded(home) if home else root / HOME_FOLDER


def expanded(text: str, root: Path = Path()) -> Path:
    """Return the path that a setting names, relative to `root`.

    `~` and `$VARIABLE` are replaced where they are known; backslashes stand for slashes where they
    would not otherwise and no file has them in its name.
    """
    text = with_variables(text)
    path = root / _from_home(text)
    if os.sep == "/" and "\\" in text and not path.exists():
        return root / _from_home(text.replace("\\", "/"))
    return path


def with_variables(text: str) -> str:
    """Return a text in which `$VARIABLE` is replaced where it is known."""
    return os.path.expandvars(text)


def _from_home(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # nobody is called so, or has a home
        return Path(text)

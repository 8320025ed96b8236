"""The git revision of a folder, read so that nothing which its repository names is run.

A repository that came with a folder has a configuration of its own, by which git starts programs:
a monitor of files, hooks, filters, helpers that fetch. None of them is needed to name a revision.
"""

import os
import subprocess
from pathlib import Path

_TIMEOUT_S = 10
_NO_PROGRAMS = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    # A repository that was cloned in part fetches what it lacks, by commands that it names.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",
}
_OF_REPOSITORY = {"local", "worktree"}
_HAS_CHANGES = 1


def revision(folder: Path) -> str | None:
    """Return the revision of a folder, with `-dirty` where files differ; None where it has none.

    `-unchecked` is in place of that where the repository has a filter of its own, without which
    files cannot be compared.
    """
    try:
        name = _git(folder, "describe", "--always", "--abbrev=12")
        return name.stdout.strip() + _state(folder) if name.returncode == 0 else None
    except (OSError, subprocess.SubprocessError):
        return None


def _state(folder: Path) -> str:
    listed = _git(folder, "config", "--list", "--show-scope", "--name-only", "-z", check=True)
    words = listed.stdout.split("\0")
    scopes = {
        scope for scope, name in zip(words[::2], words[1::2], strict=False) if _is_filter(name)
    }
    if scopes & _OF_REPOSITORY:
        return "-unchecked"
    # Whether submodules have changed files is asked of a git in them: their commits count.
    options = ("--quiet", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty")
    changes = _git(folder, "diff", *options, "HEAD")
    return "-dirty" if changes.returncode == _HAS_CHANGES else ""


def _is_filter(name: str) -> bool:
    return name.startswith("filter.")


def _git(folder: Path, *words: str, check: bool = False) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603  (fixed commands)
        ["git", "-C", str(folder), *_NO_PROGRAMS, *words],  # noqa: S607
        env=os.environ | _ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=check,
    )

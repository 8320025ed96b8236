"""Where the libraries keep what they downloaded, read without them.

torch.hub: `$TORCH_HOME/hub/checkpoints/FILE`. Hugging Face: in `$HF_HOME/hub/models--OWNER--NAME/`
the file `refs/REVISION`, which holds a commit, and `snapshots/COMMIT/FILE`.
"""

import os
from pathlib import Path

from stages.hubs.records import HubFile, RepoFile, UrlFile


def torch_checkpoints() -> Path:
    """Return the folder of torch.hub's downloads, as torch decides on it."""
    home = os.environ.get("TORCH_HOME") or _of_user("torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def hugging_face() -> Path:
    """Return the folder of the cached repositories, as huggingface_hub decides on it."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if named is None:
        home = os.environ.get("HF_HOME") or _of_user("huggingface")
        named = f"{home}/hub"
    return Path(os.path.expandvars(named)).expanduser()


def _of_user(name: str) -> str:
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return str(Path(caches) / name)


def repository(repo: str) -> Path:
    """Return the folder in which the cache has a repository."""
    return hugging_face() / f"models--{repo.replace('/', '--')}"


def path_of(file: HubFile) -> Path:
    """Return where the cache has a file, or would have it."""
    if isinstance(file, UrlFile):
        return torch_checkpoints() / file.name
    return snapshot(file) / file.name


def snapshot(file: RepoFile) -> Path:
    """Return the folder of the files of a repository at a file's revision."""
    folder = repository(file.repo)
    try:
        commit = (folder / "refs" / file.revision).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        commit = file.revision
    # What a reference holds is a commit, and never a path out of the cache.
    is_name = commit == Path(commit).name and commit not in {"", ".", ".."}
    return folder / "snapshots" / (commit if is_name else "unknown")


def cached(files: tuple[HubFile, ...]) -> Path | None:
    """Return the first of the files that is in its cache, None where none is."""
    return next((path for path in map(path_of, files) if path.is_file()), None)

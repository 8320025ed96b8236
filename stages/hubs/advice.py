"""What messages advise where weights by name are not there. Light."""

from stages.hubs import cache_folders
from stages.hubs.records import HubFile, RepoFile, UrlFile

INSTALL = "pip install 'madpipe[hub]'"


def absent(file: HubFile, setting: str, *, is_download: bool) -> str:
    """Return what to do where the cache does not have a file, with a network and without one.

    Args:
        file: The first that would be taken.
        setting: The setting that names the weights, such as `teacher.weights`.
        is_download: Whether the settings have it downloaded.
    """
    download = f"{setting.partition('.')[0]}.download = true"
    online = "madpipe run downloads it" if is_download else f"with a network set {download}"
    return f"{online}; without one {without_network(file, setting)}"


def without_network(file: HubFile, setting: str) -> str:
    """Return how a file comes into its cache on a machine without a network."""
    if isinstance(file, UrlFile):
        return (
            f"put {file.url} into {cache_folders.torch_checkpoints()} ($TORCH_HOME/hub/checkpoints)"
        )
    folder = cache_folders.repository(file.repo).name
    return (
        f"run hf download {_with_revision(file)} where there is one, and copy the folder {folder} "
        f"into {cache_folders.hugging_face()} ($HF_HOME/hub); or {own_file(setting)}"
    )


def own_file(setting: str) -> str:
    """Return how to use weights that no hub describes."""
    table = setting.partition(".")[0]
    return f"name the file itself in {setting}, and its network in {table}.arch"


def _with_revision(file: RepoFile) -> str:
    return file.repo if file.revision == "main" else f"{file.repo} --revision {file.revision}"

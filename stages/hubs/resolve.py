"""From the name of weights to what they are and where they lie. Light.

A name of torchvision or timm is looked up in the library once; what it says is kept in the working
folder (`cache/weights_by_name/`), for this version of the library. A name of the Hugging Face hub
is read from the `config.json` that its cache has.
"""

import contextlib
import hashlib
import re
from pathlib import Path

import msgspec

from pipeline import machine, stored_files
from pipeline.atomic import write_bytes
from pipeline.paths import working_folder
from pipeline.weight_names import FORMS, HUGGING_FACE, TIMM, TORCHVISION, hub_of
from stages.hubs import cache_folders, configs
from stages.hubs.records import Located, RepoFile, fault

CONFIG = "config.json"
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""What repositories call their weights, in the order in which timm looks for them."""
_REPO = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[A-Za-z0-9][\w./-]*))?"
)
_WORD = re.compile(r"[A-Za-z0-9][\w-]*")
_TIMM_NAME = re.compile(r"[A-Za-z0-9][\w-]*(?:\.[\w.-]+)?")


class _Kept(msgspec.Struct, frozen=True):
    """A record in the working folder."""

    name: str
    version: str
    located: Located


def locate(weights: str, arch: str, setting: str, root: Path | None) -> Located | None:
    """Return what a name stands for; None where that is not to be known before a download.

    Args:
        weights: The name.
        arch: The architecture that the settings name beside it.
        setting: The setting that holds the name, such as `teacher.weights`.
        root: The folder of the settings file, in whose working folder records are kept; None:
            nothing is kept.

    Raises:
        SettingsFault: No hub has weights of this name, or not of a classifier of images.
        UnavailableError: The library that knows it is not installed.
    """
    hub, text = hub_of(weights), weights.partition(":")[2]
    if hub == HUGGING_FACE:
        return _of_repository(repo_file(text, CONFIG, setting), weights, setting)
    network, member = "", ""
    if hub == TORCHVISION:
        network, member = _of_torchvision(text, arch, setting)
        text = f"{network}.{member}"
    elif not _TIMM_NAME.fullmatch(text):
        raise _malformed(weights, setting)
    name = f"{hub}:{text}"
    record = working_folder(root) / "cache" / "weights_by_name" if root else None
    path = record / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json" if record else None
    version = machine.version(str(hub))
    if path is not None and (kept := _read(path)) and (kept.name, kept.version) == (name, version):
        return kept.located
    if hub == TIMM:
        from stages.hubs import timm_weights  # noqa: PLC0415  (where no record is kept)

        located = timm_weights.look_up(text, setting)
    else:
        from stages.hubs import torchvision_weights  # noqa: PLC0415  (where no record is kept)

        located = torchvision_weights.look_up(network, member, setting)
    if path is not None:
        # It only saves time; in a folder that cannot be written the library is asked again.
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, msgspec.json.encode(_Kept(name, version, located)))
    return located


def own_arch(weights: str, arch: str, setting: str, root: Path | None) -> str | None:
    """Return the architecture that named weights are of, None where a download alone tells it.

    Of names of torchvision and timm the name itself says it, and nothing is read.

    Raises:
        SettingsFault: It is not a name of weights, or the architecture cannot be built.
    """
    hub, text = hub_of(weights), weights.partition(":")[2]
    if hub == TORCHVISION:
        return f"{TORCHVISION}:{_of_torchvision(text, arch, setting)[0]}"
    if hub == TIMM:
        if not _TIMM_NAME.fullmatch(text):
            raise _malformed(weights, setting)
        return f"{TIMM}:{text.partition('.')[0]}"
    located = locate(weights, arch, setting, root)
    return located.weights.arch if located else None


def repo_file(text: str, name: str, setting: str) -> RepoFile:
    """Return a file of the repository that OWNER/REPO[@REVISION] names.

    Raises:
        SettingsFault: It is not of that form.
    """
    match = _REPO.fullmatch(text)
    if match is None or ".." in text or "--" in match["repo"]:
        raise _malformed(f"{HUGGING_FACE}:{text}", setting)
    return RepoFile(match["repo"], name, match["revision"] or "main")


def _of_repository(config: RepoFile, name: str, setting: str) -> Located | None:
    path = cache_folders.path_of(config)
    if not path.is_file():
        return None
    weights = configs.read(path, name, setting)
    files = tuple(RepoFile(config.repo, file, config.revision) for file in WEIGHTS_FILES)
    is_whole = weights.arch.startswith(f"{TIMM}:")
    return Located(weights, files, None if is_whole else config)


def _of_torchvision(text: str, arch: str, setting: str) -> tuple[str, str]:
    """Return the name of the network and that of its weights."""
    network, dot, member = text.rpartition(".")
    if not dot:
        library, _, network = arch.partition(":")
        network = network if library == TORCHVISION else ""
    if not _WORD.fullmatch(member):
        raise _malformed(f"{TORCHVISION}:{text}", setting)
    if not network:
        table = setting.partition(".")[0]
        raise fault(
            setting,
            f"names weights of no network (torchvision:{text}; {table}.arch is {arch})",
            f'write "torchvision:resnet18.{member}", or set {table}.arch = "torchvision:resnet18"',
        )
    if not _WORD.fullmatch(network):
        raise _malformed(f"{TORCHVISION}:{text}", setting)
    return network, member


def _malformed(weights: str, setting: str) -> Exception:
    return fault(setting, f"is no name of weights ({weights})", FORMS)


def _read(path: Path) -> _Kept | None:
    try:
        return stored_files.decode(stored_files.read_bytes(path), _Kept)
    except (OSError, msgspec.DecodeError):
        return None

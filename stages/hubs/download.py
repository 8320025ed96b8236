"""The download of weights by name, by the clients of the hubs and into their own caches.

A file gets its name in a cache only once it is whole: torch.hub's is compared with the digest in
its name, or read where it has none; huggingface_hub compares sizes itself.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.atomic import sync
from pipeline.errors import SettingsFault, StageError, UnavailableError, error_summary
from pipeline.settings import Settings
from pipeline.weight_names import HUGGING_FACE, hub_of
from stages.hubs import advice, cache_folders, configs, resolve
from stages.hubs.records import HubFile, RepoFile, UrlFile, fault
from stages.hubs.transformers_configs import is_of_transformers

_DIGEST = re.compile(r"-([a-f0-9]{8,64})\.")
"""In a file's name, as torch.hub's HASH_REGEX: the first digits of its sha256."""


def teacher(settings: Settings, _path: Path) -> None:
    """Download the weights that `teacher.weights` names.

    Raises:
        SettingsFault: The hub does not have them, or cannot be reached.
        UnavailableError: The client of the hub is not installed.
    """
    assert settings.teacher.weights is not None
    _fetch(settings.teacher.weights, settings.teacher.arch, "teacher.weights")


def student(settings: Settings, _path: Path) -> None:
    """Download the weights that `student.weights` names; as for the teacher."""
    assert settings.student.weights is not None
    _fetch(settings.student.weights, settings.student.arch, "student.weights")


def _fetch(weights: str, arch: str, setting: str) -> None:
    files: tuple[HubFile, ...]
    if hub_of(weights) == HUGGING_FACE:
        config = resolve.repo_file(weights.partition(":")[2], resolve.CONFIG, setting)
        path = cache_folders.path_of(config)
        downloaded = path if path.is_file() else _of_hub(config, setting)
        if downloaded is None:
            raise fault(
                setting,
                f"is a repository without config.json, which says what it holds ({weights})",
                advice.own_file(setting),
            )
        # The files of one commit, also where the branch moves on between two downloads.
        commit = downloaded.parent.name
        if is_of_transformers(configs.mapping(downloaded, setting)):
            _of_hub(RepoFile(config.repo, configs.IMAGES, commit), setting)
        configs.read(downloaded, weights, setting)  # before much is downloaded in vain
        files = tuple(RepoFile(config.repo, name, commit) for name in resolve.WEIGHTS_FILES)
    else:
        located = resolve.locate(weights, arch, setting, None)
        assert located is not None
        files = located.files
    for file in files:
        if isinstance(file, UrlFile):
            _of_torch(file, setting)
            return
        if _of_hub(file, setting) is not None:
            return
    names = ", ".join(file.name for file in files)
    wrong = f"is a repository without weights that can be read ({weights}: none of {names})"
    raise fault(setting, wrong, advice.own_file(setting))


def _of_hub(file: RepoFile, setting: str) -> Path | None:
    """Download a file of a repository, None where it has none of this name."""
    try:
        import huggingface_hub  # noqa: PLC0415  (optional, and only a download needs it)
        from huggingface_hub import constants, errors  # noqa: PLC0415
        from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415
    except ImportError as error:
        wrong = f"needs a package that is not installed (huggingface_hub, for {file.repo})"
        raise UnavailableError(setting, wrong, f"run {advice.INSTALL}") from error
    if not sys.stderr.isatty():
        disable_progress_bars()
    constants.HF_HUB_DISABLE_TELEMETRY = True  # nothing is sent that the file does not need
    endpoint = os.environ.get("HF_ENDPOINT")
    url = huggingface_hub.hf_hub_url(
        file.repo, file.name, revision=file.revision, endpoint=endpoint
    )
    try:
        with _network(file, setting):
            # It says at once what is not there; the download tries for half a minute.
            huggingface_hub.get_hf_file_metadata(url, endpoint=endpoint)
            path = huggingface_hub.hf_hub_download(
                file.repo,
                file.name,
                revision=file.revision,
                cache_dir=cache_folders.hugging_face(),
                endpoint=endpoint,
            )
    except errors.GatedRepoError as error:
        wrong = f"is open only to those who asked for it ({file.repo})"
        remedy = "ask for it on its page, and log in with: hf auth login"
        raise fault(setting, wrong, remedy) from error
    except errors.RevisionNotFoundError as error:
        wrong = f"names no branch, tag or commit of {file.repo} ({file.revision})"
        raise fault(setting, wrong, "name another one after the @, or none") from error
    except errors.RepositoryNotFoundError as error:
        wrong = f"names no repository that the hub shows ({file.repo})"
        remedy = "correct OWNER/REPO; for a private one log in with: hf auth login"
        raise fault(setting, wrong, remedy) from error
    except errors.RemoteEntryNotFoundError:
        return None
    return Path(path)


def _of_torch(file: UrlFile, setting: str) -> None:
    """Download a file as torch.hub does, which gets its name once it is whole."""
    from torch import hub  # noqa: PLC0415  (seconds to import)

    path = cache_folders.path_of(file)
    digest = _DIGEST.search(file.name)
    part = path.with_name(f"{path.name}.part")
    with _network(file, setting):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            hub.download_url_to_file(
                file.url, str(part), digest[1] if digest else None, progress=sys.stderr.isatty()
            )
            if digest is None:
                from stages.networks import weights  # noqa: PLC0415  (torch, see above)

                weights.read(part, setting)
            sync(part)  # no power cut may leave the name without the bytes
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _network(file: HubFile, setting: str) -> Iterator[None]:
    """Turn what fails between here and a hub into one error of ours."""
    try:
        yield
    except (SettingsFault, StageError, UnavailableError):
        raise
    except Exception as error:
        if _is_answer(error):
            raise
        source = file.url if isinstance(file, UrlFile) else f"{file.repo}@{file.revision}"
        wrong = f"cannot be downloaded ({source}: {error_summary(_cause(error))})"
        raise fault(setting, wrong, advice.without_network(file, setting)) from error


def _is_answer(error: Exception) -> bool:
    """Return whether the hub was reached and said what it does not have."""
    return type(error).__name__ in {
        "GatedRepoError",
        "RevisionNotFoundError",
        "RepositoryNotFoundError",
        "RemoteEntryNotFoundError",
    }


def _cause(error: BaseException) -> BaseException:
    """Return the first cause of an error, which says more than what a client makes of it."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error

"""The folders of the caches are those of the libraries."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.hubs import cache_folders
from stages.hubs.records import RepoFile, UrlFile
from tests.stages.hubs.local_hub import COMMIT, cache_repository

_ASK = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HF_HOME": "~/home"},
        {"HF_HOME": "$TMPDIR/home", "TMPDIR": "/x"},
        {"XDG_CACHE_HOME": "/caches", "TORCH_HOME": "~/torch"},
        {"HF_HUB_CACHE": "~/hub", "HF_HOME": "/home"},
        {"HUGGINGFACE_HUB_CACHE": "/hub"},
    ],
)
def test_both_folders_are_those_of_the_libraries(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch import hub

    for name in ("HF_HOME", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run(
        [sys.executable, "-c", _ASK], env=os.environ, capture_output=True, text=True, check=True
    )
    assert str(cache_folders.hugging_face()) == done.stdout.strip()
    assert str(cache_folders.torch_checkpoints()) == f"{hub.get_dir()}/checkpoints"


def test_a_file_is_found_as_huggingface_hub_finds_it(caches: Path) -> None:
    from huggingface_hub import try_to_load_from_cache

    cache_repository(caches / "hf", "owner/net", {"config.json": b"{}"})
    path = cache_folders.path_of(RepoFile("owner/net", "config.json"))
    cache = cache_folders.hugging_face()
    assert str(path) == try_to_load_from_cache("owner/net", "config.json", cache_dir=cache)
    assert path == cache_folders.path_of(RepoFile("owner/net", "config.json", COMMIT))


def test_the_first_file_that_is_there_is_taken(caches: Path) -> None:
    files = (
        RepoFile("o/r", "model.safetensors"),
        UrlFile("https://host/a/net-1234.pth?download=1"),
    )
    assert cache_folders.cached(files) is None
    path = caches / "torch" / "hub" / "checkpoints" / "net-1234.pth"
    path.parent.mkdir(parents=True)
    path.touch()
    assert cache_folders.cached(files) == path


@pytest.mark.parametrize("commit", ["../../../secret", "/etc", "..", ""])
def test_a_reference_leads_nowhere_out_of_the_cache(commit: str, caches: Path) -> None:
    cache_repository(caches / "hf", "o/r", {})
    (caches / "hf" / "hub" / "models--o--r" / "refs" / "main").write_text(commit, encoding="utf-8")
    folder = cache_folders.snapshot(RepoFile("o/r", "config.json"))
    assert folder == cache_folders.repository("o/r") / "snapshots" / "unknown"

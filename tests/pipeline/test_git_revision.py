"""A revision is named without a program of the repository's; `-dirty` says that files differ."""

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.git_revision import revision

WHO = ("-c", "user.name=x", "-c", "user.email=x@example.org")


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)  # noqa: S607


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a.txt").write_text("one\n", encoding="utf-8")
    (folder / ".gitattributes").write_text("*.txt filter=x\n", encoding="utf-8")
    git(folder, "add", ".")
    git(folder, *WHO, "commit", "-q", "-m", "x")
    return folder


def test_changed_file_makes_it_dirty_and_touched_one_does_not(repository: Path) -> None:
    clean = revision(repository)
    assert clean is not None
    assert len(clean) == 12
    os.utime(repository / "a.txt", (1, 1))
    assert revision(repository) == clean
    (repository / "a.txt").write_text("two\n", encoding="utf-8")
    assert revision(repository) == f"{clean}-dirty"


def test_folder_without_a_commit_has_none(tmp_path: Path) -> None:
    assert revision(tmp_path / "gone") is None
    git(tmp_path, "init", "-q")
    assert revision(tmp_path) is None


def plant(repository: Path, program: str) -> None:
    """Let a repository name a program in each place from which git would run it here."""
    for name in ("core.fsmonitor", "diff.external"):
        git(repository, "config", name, program)
    git(repository, "config", "core.hooksPath", "hooks")
    for hooks in (repository / "hooks", repository / ".git/hooks"):
        hooks.mkdir(exist_ok=True)
        hook = hooks / "post-index-change"
        hook.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
        hook.chmod(0o755)
    os.utime(repository / "a.txt", (1, 1))


def test_no_program_of_the_repository_runs(repository: Path, tmp_path: Path) -> None:
    clean = revision(repository)
    plant(repository, f"touch {tmp_path}/canary")
    assert revision(repository) == clean
    assert not (tmp_path / "canary").exists()
    git(repository, "describe", "--always", "--dirty")
    assert (tmp_path / "canary").exists(), "what was planted does not run in any case"


def test_filter_of_the_repository_is_not_run(repository: Path, tmp_path: Path) -> None:
    clean = revision(repository)
    git(repository, "config", "filter.x.clean", f"touch {tmp_path}/canary; cat")
    os.utime(repository / "a.txt", (1, 1))
    assert revision(repository) == f"{clean}-unchecked"
    assert not (tmp_path / "canary").exists()
    git(repository, "describe", "--always", "--dirty")
    assert (tmp_path / "canary").exists(), "what was planted does not run in any case"


def test_no_program_of_a_submodule_runs(repository: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    source = str(repository)
    git(outer, "-c", "protocol.file.allow=always", "submodule", "add", "-q", source, "inner")
    git(outer, *WHO, "commit", "-q", "-m", "x")
    git(outer / "inner", "config", "core.fsmonitor", f"touch {tmp_path}/canary")
    assert revision(outer)
    assert not (tmp_path / "canary").exists()
    git(outer, "describe", "--always", "--dirty")
    assert (tmp_path / "canary").exists(), "what was planted does not run in any case"


def test_missing_objects_are_not_fetched(repository: Path, tmp_path: Path) -> None:
    for name, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": str(tmp_path),
        "remote.origin.uploadPack": f"touch {tmp_path}/canary; false",
    }.items():
        git(repository, "config", name, value)
    for file in (repository / ".git/objects").glob("??/*"):
        file.chmod(0o644)
    tree = subprocess.check_output(
        ["git", "-C", str(repository), "rev-parse", "HEAD^{tree}"],  # noqa: S607
        text=True,
    ).strip()
    (repository / ".git/objects" / tree[:2] / tree[2:]).unlink()
    (repository / "a.txt").write_text("two\n", encoding="utf-8")
    revision(repository)
    assert not (tmp_path / "canary").exists()
    subprocess.run(
        ["git", "-C", str(repository), "diff", "--quiet", "HEAD"],  # noqa: S607
        check=False,
        capture_output=True,
    )
    assert (tmp_path / "canary").exists(), "what was planted does not run in any case"

"""Where something ran is told for the reader of a report."""

import subprocess
from pathlib import Path

from pipeline import __version__, hostinfo


def test_host_has_what_places_a_figure() -> None:
    facts = hostinfo.host()
    assert {"madpipe", "python", "system", "cpu", "cores", "memory_gib"} <= facts.keys()
    assert facts["madpipe"] == __version__
    assert float(facts["memory_gib"]) > 0
    assert all(isinstance(value, str) for value in facts.values())


def test_environment_has_versions_and_the_revision(tmp_path: Path) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], [*who, "commit", "-q", "-m", "x", "--allow-empty"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)  # noqa: S607
    clean = hostinfo.environment(tmp_path)
    assert len(clean["git"]) == 12
    assert clean["onnxruntime-gpu"]
    assert hostinfo.host().items() <= clean.items()


def test_folder_without_git_has_no_revision(tmp_path: Path) -> None:
    assert hostinfo.environment(tmp_path / "gone")["git"] == "absent"

"""What is written down stays true: the settings file, the links and the version."""

import re
import tomllib
from pathlib import Path

from pipeline import __version__
from pipeline.config import load as config
from pipeline.config.template import render
from pipeline.settings import Settings

ROOT = Path(__file__).parent.parent
HOSTS = re.compile(r"(pypi|pythonhosted|debian|ubuntu|npmjs|conda)\.[a-z]{2,}", re.IGNORECASE)


def test_the_shipped_settings_file_is_what_the_declarations_render() -> None:
    assert (ROOT / "pipeline.toml").read_text(encoding="utf-8") == render(Settings())


def test_the_shipped_settings_are_the_defaults() -> None:
    assert config.load(ROOT / "pipeline.toml") == Settings()


def test_links_in_documents_lead_to_files() -> None:
    links = [
        (path, target)
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    ]
    assert not [
        f"{path.name}: {target}"
        for path, target in links
        if "://" not in target and not (path.parent / target).exists()
    ]


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    assert f"[{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_extra_that_a_text_names_exists_and_each_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folders = ("pipeline", "stages", "models", "docs", "scripts", "benchmarks")
    files = [path for name in folders for path in (ROOT / name).rglob("*")]
    files = [path for path in files if path.suffix in {".md", ".py", ".txt", ".yml"}]
    texts = [path.read_text(encoding="utf-8") for path in [*files, *ROOT.glob("*.md")]]
    named = {
        extra
        for text in texts
        for names in re.findall(r"(?:madpipe|'\.)\[([a-z\d,-]+)\]", text)
        for extra in names.split(",")
    }
    assert named == set(project["optional-dependencies"])


def test_no_file_names_a_package_host() -> None:
    files = [
        path
        for path in ROOT.rglob("*")
        if path.suffix in {".md", ".toml", ".py", ".yml", ".txt"} and path.is_file()
    ]
    files = [path for path in files if not {".venv", ".madpipe"} & set(path.parts)]
    named = [path.name for path in files if HOSTS.search(path.read_text(encoding="utf-8"))]
    assert named in ([], ["test_docs.py"])

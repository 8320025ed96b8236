"""The documentation's site builds with every link checked, and what is generated is current."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pipeline import exit_codes
from pipeline.cli.main import app
from scripts import cli_reference, llms_index

ROOT = Path(__file__).parent.parent
LOADED = re.compile(
    r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//|<link[^>]+href=\"?(?:https?:)?//"
)
"""What a page would fetch from another host."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as CI builds it: a broken link or anchor is an error."""
    if sys.version_info < (3, 11, 5):
        pytest.skip("mkdocs-material has no release for this Python")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    expected = [path.with_suffix(".html") for path in pages if path.name != "README.md"]
    expected += [Path(name) for name in ("index.html", "SECURITY.html", "ci/index.html")]
    assert not [path for path in expected if not (site / path).is_file()]
    texts = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert not [path for path, text in texts.items() if LOADED.search(text)]
    # Links out of docs/ lead to the pages that stand for the files.
    assert 'href="SECURITY.html"' in texts[site / "index.html"]
    assert 'href="benchmarks/2026-11-26-gpu.html"' in texts[site / "index.html"]


def test_files_outside_of_docs_have_their_places_and_absent_pages_none() -> None:
    from mkdocs.structure.files import Files

    from scripts import site_pages

    assert site_pages.site_path("README.md") == "index.md"
    assert site_pages.site_path("docs/decisions") == "decisions/index.md"
    assert site_pages.site_path("examples/own_teacher") == "examples/own_teacher/README.md"
    assert site_pages.navigation({"Start": ["docs/none.md"]}, Files([])) == []


def test_the_reference_of_the_command_line_is_current() -> None:
    stored = cli_reference.PATH.read_text(encoding="utf-8")
    assert stored == cli_reference.render(), "run python -m scripts.cli_reference"
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert f"## madpipe {name}" in stored
    assert all(f"| `{entry.code}` | {entry.meaning}" in stored for entry in exit_codes.ALL)


def test_llms_txt_is_current_and_has_every_page_of_docs() -> None:
    text = llms_index.PATH.read_text(encoding="utf-8")
    assert text == llms_index.render(), "run python scripts/llms_index.py"
    assert text.startswith("# madpipe\n\n> ")
    links = re.findall(r"^- \[[^\]]+\]\(([^)]+)\)", text, re.MULTILINE)
    assert not [link for link in links if not (ROOT / link).is_file()]
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= set(links)


def test_every_exit_code_is_explained_once() -> None:
    names = {name: value for name, value in vars(exit_codes).items() if isinstance(value, int)}
    assert sorted(names.values()) == [entry.code for entry in exit_codes.ALL]
    assert all(entry.meaning and entry.remedy for entry in exit_codes.ALL)


def test_the_first_sentence_of_a_page_is_its_note() -> None:
    page = "# Title\n\n```\ncode\n```\n\nIt does [this](that.md) and\nmore. Then other things.\n"
    assert llms_index.first_sentence(page) == "It does this and more."

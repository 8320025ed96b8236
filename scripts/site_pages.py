"""The pages of the documentation's site that lie outside docs/, and its navigation: mkdocs' hook.

README, changelog, examples and benchmarks stay where they are and become pages; files that pages
link to are copied. Links are written for the repository, and led to the site's pages here, so that
mkdocs checks them and their anchors.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).parent.parent
_HOME = "README.md"
_PAGES = ("*.md", "benchmarks/*.md", "examples/*/README.md")
_INDEXES = {"docs/decisions": "Decisions", "benchmarks": "Benchmarks", "examples": "Examples"}
"""Folders that get a page with a list of theirs."""
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)?(#[^)\s]*)?(\))")
_FENCED = re.compile(r"^(```.*?^```|    .*?$)", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let headings have the anchors that they have on a page of the repository."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def site_path(path: str) -> str:
    """Return where a file of the repository, by its relative path, is in the site's sources."""
    if path == _HOME:
        return "index.md"
    if path in _INDEXES:
        return f"{path.removeprefix('docs/')}/index.md"
    if (ROOT / path / _HOME).is_file():
        path = f"{path}/{_HOME}"
    return path.removeprefix("docs/")


def repository_pages() -> Iterator[Path]:
    """Yield the pages outside docs/."""
    for pattern in _PAGES:
        yield from sorted(ROOT.glob(pattern))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/, what any page links to, and the navigation."""
    pages = [*repository_pages(), *sorted((ROOT / "docs").rglob("*.md"))]
    linked = {
        target
        for page in pages
        for target in _targets(page)
        if (ROOT / target).is_file() and not target.startswith("docs/")
    }
    linked |= {page.relative_to(ROOT).as_posix() for page in repository_pages()}
    for path in sorted(linked):
        file = File.generated(config, site_path(path), abs_src_path=str(ROOT / path))
        files.append(file)
    for folder in _INDEXES:
        files.append(File.generated(config, site_path(folder), content=_index(folder)))
    config.nav = navigation(config.extra["sections"], files)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a page to the site's pages."""
    del config, files
    source = page.file.abs_src_path
    if source is None:  # an index, whose links are the site's own
        return markdown
    folder = Path(source).relative_to(ROOT).parent.as_posix()

    def led(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups(default="")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        here = posixpath.dirname(page.file.src_uri)
        return f"{before}{posixpath.relpath(site_path(path), here or '.')}{anchor}{after}"

    # What is code stays as it is.
    parts = _FENCED.split(markdown)
    return "".join(
        part if number % 2 else _LINK.sub(led, part) for number, part in enumerate(parts)
    )


def navigation(sections: Mapping[str, list[str]], files: Files) -> list[dict[str, Any]]:
    """Return the sections with the pages that are there, and the rest in one of its own."""
    available = {file.src_uri: file for file in files.documentation_pages()}
    left = dict(available)
    entries: list[dict[str, Any]] = []
    for title, paths in sections.items():
        listed: list[Any] = []
        for path in paths:
            if path.endswith("/"):
                index = site_path(path.rstrip("/"))
                inside = posixpath.dirname(index) + "/"
                names = sorted(uri for uri in left if uri.startswith(inside) and uri != index)
                listed.append({_INDEXES[path.rstrip("/")]: [index, *names]})
                left = {uri: file for uri, file in left.items() if not uri.startswith(inside)}
            elif site_path(path) in left:
                listed.append(site_path(path))
                del left[site_path(path)]
            elif (ROOT / path).is_file():
                listed.append({Path(path).name: site_path(path)})
        if listed:
            entries.append({title: listed})
    if left:
        entries.append({"More": sorted(left)})
    return entries


def _targets(page: Path) -> Iterator[str]:
    """Yield what a page links to in the repository, by relative paths."""
    folder = page.relative_to(ROOT).parent.as_posix()
    for match in _LINK.finditer(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        target = match[2]
        if target and "://" not in target:
            yield posixpath.normpath(posixpath.join(folder, target))


def _index(folder: str) -> str:
    """Return the page with the list of a folder's pages."""
    lines = [f"# {_INDEXES[folder]}", ""]
    for path in sorted((ROOT / folder).rglob("*.md")):
        heading = _TITLE.search(path.read_text(encoding="utf-8"))
        title = heading[1] if heading else path.stem
        lines.append(f"- [{title}]({path.relative_to(ROOT / folder).as_posix()})")
    return "\n".join(lines) + "\n"

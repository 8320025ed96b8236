"""The digest of the code that a stage runs, and digests remembered between runs.

Code is found statically, so nothing is imported. Comments, formatting and docstrings do not
count; any other edit does. Of the core (`pipeline.*`) only those modules count with which stages
compute; the others pass things on and store them, and a change there that would change results
raises `KEY_SCHEMA` in `pipeline.cache.keys`.
"""

import ast
import contextlib
import hashlib
import itertools
import json
import sys
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from pipeline import stored_files
from pipeline.atomic import write_bytes

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_CORE = "pipeline"
_COMPUTING = {
    "pipeline.gates.intervals",
    "pipeline.image_size",
    "pipeline.preprocessing",
    "pipeline.texts",
}
"""Modules of the core whose functions decide what a stage leaves."""
_Digests = dict[str, dict[str, dict[str, Any]]]


class _Memo(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds."""

    sha256: str
    """Of the digests, so that none counts that was changed since."""
    digests: _Digests


def _sha256_of(digests: _Digests) -> str:
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


class DigestCache:
    """What was computed for each (kind, key), kept in one JSON file between runs.

    Kinds are `code` (of one source file), `users_code` (what else one of the user's names) and
    `folder` (of one listing of an outside folder).
    A convenience: without it everything is computed anew and nothing is different. It holds a
    digest of itself, so that a file that was changed counts as none.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Read what `path` holds; an unreadable or outdated file counts as empty."""
        self._path = path
        self._stored: _Digests = {}
        self._used: _Digests = {}
        if path is not None and path.is_file():
            with contextlib.suppress(OSError, msgspec.DecodeError):
                memo = stored_files.decode(stored_files.read_bytes(path), _Memo)
                if memo.sha256 == _sha256_of(memo.digests):
                    self._stored = memo.digests

    def get(self, kind: str, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what is stored of `key`, computing it the first time."""
        used = self._used.setdefault(kind, {})
        if key not in used:
            stored = self._stored.get(kind, {}).get(key)
            used[key] = stored if stored is not None else compute()
        return used[key]

    def save(self) -> None:
        """Write what this process used, dropping the rest, if it differs from the file.

        Where it used nothing, as a run that only finds what is stored, the file stays as it is.

        Raises:
            OSError: The file cannot be written.
        """
        if self._path is not None and self._used and self._used != self._stored:
            memo = _Memo(sha256=_sha256_of(self._used), digests=self._used)
            write_bytes(self._path, msgspec.json.encode(memo, order="sorted"))
            self._stored = self._used


def code_digests(modules: Iterable[str], digest_cache: DigestCache) -> dict[str, str]:
    """Return module name -> digest for `modules` and every first-party module they import.

    First-party are `stages`, `models`, the top-level packages of `modules` themselves, and of the
    core what computes.

    Raises:
        ModuleNotFoundError: One of `modules` does not exist.
    """
    waiting = sorted(set(modules))
    for name in waiting:
        if _source_path(name) is None:
            message = f"no module named {name!r}"
            raise ModuleNotFoundError(message)
    packages = {"stages", "models"} | {name.partition(".")[0] for name in waiting}
    packages.discard(_CORE)
    digests: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        path = _source_path(name)
        if name in digests or path is None:
            continue
        entry = source_digest(path.read_bytes(), path, name, digest_cache)
        digests[name] = entry["digest"]
        waiting += [
            name
            for name in entry["imports"]
            if name in _COMPUTING or name.partition(".")[0] in packages
        ]
    return dict(sorted(digests.items()))


def _source_path(module: str) -> Path | None:
    """Return the source file of a dotted name, None where it names no module (an attribute)."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin else None
    for folder in spec.submodule_search_locations or []:
        base = Path(folder, *rest)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def source_digest(
    source: bytes, path: Path, module: str, digest_cache: DigestCache
) -> dict[str, Any]:
    """Return the `digest` of what a source does, and the dotted names that it `imports`.

    Raises:
        SyntaxError: It is not Python.
        ValueError: The same, where its bytes are no text.
    """
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    cache_key = hashlib.sha256(f"{_PYTHON}\0{package}\0".encode() + source).hexdigest()

    def parse() -> dict[str, Any]:
        tree = ast.parse(source, filename=str(path))
        imports = sorted({name for node in ast.walk(tree) for name in _imports(node, package)})
        text = ast.unparse(without_docstrings(tree))
        return {"digest": hashlib.sha256(text.encode()).hexdigest(), "imports": imports}

    return digest_cache.get("code", cache_key, parse)


def without_docstrings(tree: ast.AST) -> ast.AST:
    """Return a tree less the texts that stand alone as statements; it is changed in place."""
    cleaned: ast.AST = _DocstringRemover().visit(tree)
    return cleaned


def _imports(node: ast.AST, package: str) -> list[str]:
    """Return the dotted names that an import may load; `from a import b` gives a and a.b."""
    if isinstance(node, ast.Import):
        return [parent for alias in node.names for parent in _with_parents(alias.name)]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        parents = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*parents, *([base] if base else [])])
    return [*_with_parents(base), *(f"{base}.{alias.name}" for alias in node.names)]


def _with_parents(module: str) -> list[str]:
    """Return a dotted name and its packages, which Python runs on the way to it."""
    return list(itertools.accumulate(module.split("."), "{}.{}".format))


class _DocstringRemover(ast.NodeTransformer):
    """Removes strings that stand alone as statements: docstrings and field comments."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node

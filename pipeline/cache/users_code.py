"""The digest of a Python file of the user's, and of all that it is seen to run or to read.

Nothing is imported, so all is found in the text: imports of what lies beside the file, or in a
folder that it puts on Python's path; compiled modules; files that a text in it names; modules that
it imports by a name that is a text, or, where the name is computed, every module beside it; and
the versions of the packages that it imports. Not seen are names of files that are computed, and
what a package does with what it is given.
"""

import ast
import functools
import hashlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pipeline import machine
from pipeline.cache.digests import DigestCache, source_digest, without_docstrings

_OURS = {"models", "pipeline", "stages"}
_OF_EVERY_NETWORK = {"torch", "numpy"}
"""Packages whose versions every stage with a network declares."""
_DISTRIBUTIONS = {
    "PIL": "pillow|pillow-simd", "sklearn": "scikit-learn", "skimage": "scikit-image",
    "yaml": "PyYAML", "cv2": "opencv-python|opencv-python-headless|opencv-contrib-python",
}  # fmt: skip
"""Those that are called otherwise than what they bring; others are looked up, which takes long."""
_BY_NAME = {"import_module", "__import__", "run_path", "run_module", "exec", "eval", "resolve_name"}
"""What runs code whose name or text it is given."""
_LONGEST_NAME = 200
_MOST_FOLDERS = 16
_MODULES = (".py", *EXTENSION_SUFFIXES)


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a source names beside its imports."""

    texts: tuple[str, ...] = ()
    """Texts that may be names of files, folders or modules."""
    is_computed: bool = False
    """Whether it runs code of a name that is no text."""
    has_path: bool = False
    """Whether it changes Python's path."""


class _Places(NamedTuple):
    """Where a user's modules and files are looked for."""

    folder: Path
    """That of the file that was named, from which names are counted."""
    others: Sequence[Path]
    """More folders: those that a text names, and those around where Python's path is changed."""


def users_code_digests(path: Path, digest_cache: DigestCache) -> dict[str, str]:
    """Return the digests of a file of the user's and of all that it is seen to use, by their names.

    Names of files are relative to the file's folder; the value of a package is its version.

    Raises:
        SyntaxError: One of them is not Python.
        ValueError: The same, where its bytes are no text.
    """
    folder = path.parent
    waiting, digests = [path], dict[str, str]()
    while waiting:
        file = waiting.pop()
        name = Path(os.path.relpath(file, folder)).as_posix()
        if name in digests:
            continue
        content = file.read_bytes()
        if file.suffix != ".py":
            digests[name] = hashlib.sha256(content).hexdigest()
            continue
        own_module = ".".join(Path(name.replace("../", "")).with_suffix("").parts)
        own_module = own_module.removesuffix(".__init__")
        entry = source_digest(content, file, own_module, digest_cache)
        digests[name] = entry["digest"]
        seen = _seen(content, file, digest_cache)
        places = _Places(folder, _folders(folder, file, seen))
        waiting += _named_files(places, seen)
        for module in (*entry["imports"], *_module_names(seen, own_module)):
            files = [*_modules(places, module)]
            waiting += files
            is_import = module in entry["imports"]
            if is_import and not files and not _lies_beside(places, module):
                more, version = _of_package(module.partition(".")[0])
                waiting += more
                digests |= version
        if seen.is_computed:
            waiting += _all_modules(folder)
    return dict(sorted(digests.items()))


def _seen(source: bytes, path: Path, digest_cache: DigestCache) -> _Seen:
    """Return what a source names; it is Python."""

    def parse() -> dict[str, Any]:
        tree = without_docstrings(ast.parse(source, filename=str(path)))
        nodes = [*ast.walk(tree)]
        texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
        seen = _Seen(
            texts=tuple(sorted(t for t in texts if isinstance(t, str) and _may_name(t))),
            is_computed=any(isinstance(n, ast.Call) and _runs_computed(n) for n in nodes),
            has_path=any(isinstance(n, ast.Attribute) and _is_path(n) for n in nodes),
        )
        content: dict[str, Any] = msgspec.to_builtins(seen)
        return content

    key = hashlib.sha256(source).hexdigest()
    return msgspec.convert(digest_cache.get("users_code", key, parse), _Seen)


def _may_name(text: str) -> bool:
    return bool(text.strip(" ./")) and len(text) <= _LONGEST_NAME and text.isprintable()


def _runs_computed(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    is_method_of_network = name == "eval" and isinstance(call.func, ast.Attribute)
    is_constant = bool(call.args) and isinstance(call.args[0], ast.Constant)
    return name in _BY_NAME and not is_constant and not is_method_of_network


def _is_path(node: ast.Attribute) -> bool:
    return node.attr == "path" and isinstance(node.value, ast.Name) and node.value.id == "sys"


def _folders(folder: Path, file: Path, seen: _Seen) -> list[Path]:
    """Return the folders in which names of modules and files may be meant."""
    folders = list(dict.fromkeys([folder, file.parent]))
    if seen.has_path:
        folders += [*itertools.islice(folder.absolute().parents, 2)]
    for base in folders:  # which grows
        for text in seen.texts:
            inner = base / text
            if len(folders) < _MOST_FOLDERS and inner not in folders and _is_folder(inner):
                folders.append(inner)
    return folders


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a text that is no path
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _named_files(places: _Places, seen: _Seen) -> list[Path]:
    files = (base / text for base in places.others for text in seen.texts)
    return [file for file in files if _is_file(file)]


def _module_names(seen: _Seen, own_module: str) -> Iterator[str]:
    """Yield the modules that a text may name, as `__all__` and `import_module` do."""
    package = own_module.rpartition(".")[0]
    for text in seen.texts:
        name = text.lstrip(".")
        if name.isascii() and all(part.isidentifier() for part in name.split(".")):
            yield name
            yield f"{own_module}.{name}"
            if package:
                yield f"{package}.{name}"


def _modules(places: _Places, module: str) -> Iterator[Path]:
    """Yield the files of a dotted name in the user's folders."""
    parts = module.split(".")
    for base in places.others if module else ():
        place = base.joinpath(*parts)
        for suffix in _MODULES:
            for file in (place.with_name(f"{place.name}{suffix}"), place / f"__init__{suffix}"):
                if _is_file(file):
                    yield file


def _lies_beside(places: _Places, module: str) -> bool:
    """Return whether a name is of something in the user's folders, such as of a class there."""
    top = module.partition(".")[0]
    return any(_is_folder(base / top) or any(_modules(places, top)) for base in places.others)


def _all_modules(folder: Path) -> list[Path]:
    """Return the modules in a folder, and in those below it that hold some."""
    files = [file for file in folder.iterdir() if file.name.endswith(_MODULES) and file.is_file()]
    if not files:
        return []
    inner = (f for f in folder.iterdir() if f.name.isidentifier() and not f.is_symlink())
    return files + [file for f in inner if f.is_dir() for file in _all_modules(f)]


@functools.cache
def _of_package(top: str) -> tuple[list[Path], dict[str, str]]:
    """Return a package's version, or its files where it is one that is worked on."""
    if not top or top in sys.stdlib_module_names or top in _OURS | _OF_EVERY_NETWORK:
        return [], {}
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return [], {top: machine.ABSENT}
    roots = [Path(place) for place in spec.submodule_search_locations or ()]
    origin = Path(spec.origin or "")
    if any(folder in ("site-packages", "dist-packages") for folder in (roots or [origin])[0].parts):
        return [], {top: _version(top)}
    files = [file for root in roots for file in sorted(root.rglob("*.py"))]
    return files or [origin], {}


def _version(top: str) -> str:
    """Return the version of an installed top-level module."""
    version = machine.version(_DISTRIBUTIONS.get(top, top))
    if version != machine.ABSENT:
        return version
    names = sorted(set(metadata.packages_distributions().get(top, ())))
    return " ".join(f"{name} {metadata.version(name)}" for name in names) or machine.ABSENT

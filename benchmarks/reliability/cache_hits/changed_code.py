"""Changes of the user's own code, and changes of which none can matter."""

from benchmarks.reliability.cache_hits.changed_inputs import Mutation
from benchmarks.reliability.cache_hits.edits import (
    Edit,
    copied_project,
    moved,
    new_file,
    nothing,
    one_byte,
    read_only,
    replaced,
    text,
    together,
    touched,
    written_otherwise,
)
from benchmarks.reliability.cache_hits.expected import NETWORKS, NONE

_SYSTEMS = (
    ".gitignore", ".DS_Store", "train/cats/Thumbs.db", "train/.ipynb_checkpoints/0.bmp",
    "train/@eadir/0.bmp", "train/cats/._0.bmp", ".git/HEAD", ".madpipe/layout",
)  # fmt: skip
_NO_IMAGES = ("data/README.md", "data/train/cats/notes.docx", "photos/list.csv")


def _code(what: str, edit: Edit, before: Edit = nothing) -> Mutation:
    """Return a change of what the network of both roles is made by."""
    return Mutation(f"code: {what}", "folders", edit, NETWORKS, before)


def _same(what: str, edit: Edit, project: str = "folders") -> Mutation:
    """Return a change that must change no key."""
    return Mutation(f"same: {what}", project, edit, NONE)


def _import(statement: str) -> Edit:
    return text("net.py", "import einops", f"import einops\n{statement}")


def _renamed(old: str, new: str) -> Edit:
    """Return what renames a file or folder, in the settings as well."""
    return together(moved(old, new), text("pipeline.toml", f'"{old}"', f'"{new}"'))


_ON_PATH = together(
    new_file("lib/tools.py", b"X = 10"), _import("import sys\nsys.path.append('lib')\nimport tools")
)
_COMPUTED = text("net.py", 'import_module("bodies")', 'import_module("bod" + "ies")')
_STAR = together(
    text("parts/__init__.py", "from . import norms", "__all__ = ['unused']"),
    text("net.py", "parts.heads import head", "parts import *"),
)

MUTATIONS = [
    _code("the user's file", text("net.py", "body(width, b", "body(2 * width, b")),
    _code("a module beside it", text("layers.py", "+ SIZE", "- SIZE")),
    _code("a module that this imports", text("sizes.py", "SIZE = 3", "SIZE = 4")),
    _code("a package beside it", text("parts/heads.py", "2 * x", "3 * x")),
    _code("what its package imports", text("parts/norms.py", "1e-5", "1e-6")),
    _code("the package itself", text("parts/__init__.py", "norms", "heads")),
    _code("a module imported by name", text("bodies.py", "head(block", "(block")),
    _code("a module of a computed name", text("unused.py", "1", "2"), _COMPUTED),
    _code("a module that a star imports", text("parts/unused.py", "1", "2"), _STAR),
    _code("a file that it reads", text("width.json", "8", "9")),
    _code(
        "a compiled module",
        one_byte("fast.so"),
        together(new_file("fast.so", b"machine code"), _import("import fast")),
    ),
    _code("a module in a folder on Python's path", text("lib/tools.py", "10", "11"), _ON_PATH),
    _same("files that systems leave", together(*(new_file(f"data/{n}") for n in _SYSTEMS))),
    _same("files that are no images", together(*map(new_file, _NO_IMAGES))),
    _same("times of all files", touched),
    _same("rights of an image", read_only),
    _same("an image is written anew", replaced("data/val/cats/0.bmp", is_same=True)),
    _same("the project in another folder", copied_project),
    _same("the data in another folder", _renamed("data", "images of animals")),
    _same("the unlabelled images in another", _renamed("photos", "others")),
    _same("a name of the file of classes", _renamed("classes.txt", "order.txt")),
    _same("a name of the teacher's file", _renamed("teacher.safetensors", "t.safetensors"), "bank"),
    _same("a name of the start's file", _renamed("start.safetensors", "s.safetensors"), "bank"),
    _same("layout of the settings", written_otherwise),
    _same("a remark in the code", text("layers.py", "def block", "# a remark\ndef block")),
    _same("layout of the code", text("bodies.py", "head(block(width))", "head( (block(width )) )")),
    _same("a docstring", text("net.py", "Make it.", "It is made here.")),
    _same("code that nothing imports", text("unused.py", "1", "2")),
    _same("a page beside the code", one_byte("README.md")),
]

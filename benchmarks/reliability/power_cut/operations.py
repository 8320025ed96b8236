"""What a program did to the files below a folder, one record for each call, in their order.

Files and folders are numbered as they come about, since a name can go from one to another.
"""

from typing import NamedTuple

ROOT = 0
"""The number of the folder below which all happens; it is there before."""


class Named(NamedTuple):
    """A file or folder got a name: it was made, or linked to."""

    folder: int
    name: str
    node: int
    is_folder: bool


class Unnamed(NamedTuple):
    """A file or folder lost a name."""

    folder: int
    name: str
    node: int


class Renamed(NamedTuple):
    """A file or folder went to another name, over whatever had that one."""

    folder: int
    name: str
    new_folder: int
    new_name: str
    node: int


class Written(NamedTuple):
    """Bytes were written to a file."""

    node: int
    offset: int
    content: bytes


class Resized(NamedTuple):
    """A file was cut or lengthened."""

    node: int
    size: int


class Synced(NamedTuple):
    """The bytes of a file, or the names in a folder, were made durable."""

    node: int


Names = Named | Unnamed | Renamed
Operation = Names | Written | Resized | Synced


def change(content: bytearray, operation: Written | Resized) -> None:
    """Change the bytes of a file as an operation does."""
    if isinstance(operation, Resized):
        content[operation.size :] = bytes(max(operation.size - len(content), 0))
        return
    begin, end = operation.offset, operation.offset + len(operation.content)
    content.extend(bytes(max(begin - len(content), 0)))
    content[begin:end] = operation.content


class Tree:
    """Folders and their names, as far as operations on names go."""

    def __init__(self) -> None:
        """Begin with the folder that is there before."""
        self.folders: dict[int, dict[str, int]] = {ROOT: {}}

    def apply(self, operation: Names) -> None:
        """Apply an operation; one whose file is not where it was, since others are lost, adds."""
        if isinstance(operation, Named):
            self._of(operation.folder)[operation.name] = operation.node
            if operation.is_folder:
                self._of(operation.node)
            return
        before = self._of(operation.folder)
        if before.get(operation.name) == operation.node:
            del before[operation.name]
        if isinstance(operation, Renamed):
            self._of(operation.new_folder)[operation.new_name] = operation.node

    def find(self, path: str) -> int | None:
        """Return the number of what a path names, with `/` between its names; None: nothing."""
        node: int | None = ROOT
        for name in path.split("/") if path else ():
            node = self.folders.get(node, {}).get(name) if node is not None else None
        return node

    def paths(self, node: int = ROOT, above: str = "") -> dict[str, int]:
        """Return what all paths name, folders among them."""
        named: dict[str, int] = {}
        for name, inner in sorted(self.folders.get(node, {}).items()):
            path = f"{above}{name}"
            named |= {path: inner} | self.paths(inner, f"{path}/")
        return named

    def _of(self, folder: int) -> dict[str, int]:
        return self.folders.setdefault(folder, {})

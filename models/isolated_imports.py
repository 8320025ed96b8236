"""Imports of a user's file, isolated: its neighbours come first, whatever they are called.

The user's packages may be called as ours are. So while an import of theirs runs, ours are put
aside; and their code gets an `__import__` that does so again whenever it imports later, in a
factory or in the middle of a forward pass.
"""

import builtins
import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

_OUR_PACKAGES = ("models", "pipeline", "stages")


class IsolatedImports(MetaPathFinder):
    """The modules of one user's folder, which are imported apart from ours."""

    def __init__(self, folder: Path) -> None:
        """Take what lies directly in `folder` for the user's: its .py files and packages."""
        self.folder = folder
        self.names = {file.stem for file in folder.glob("*.py")}
        self.names |= {file.parent.name for file in folder.glob("*/__init__.py")}
        self.builtins = dict(vars(builtins)) | {"__import__": self._import, "print": _print}
        """What the user's code is to have as `__builtins__`."""
        self._modules: dict[str, ModuleType] = {}
        self._is_inside = False

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Let imports find the user's modules first; ours are back afterwards."""
        if self._is_inside:
            yield
            return
        hidden = self.names | set(_OUR_PACKAGES)
        others = _pop_modules(hidden)
        sys.modules.update(self._modules)
        sys.path.insert(0, str(self.folder))
        sys.meta_path.insert(0, self)
        importlib.invalidate_caches()
        self._is_inside = True
        try:
            yield
        finally:
            self._is_inside = False
            sys.meta_path.remove(self)
            sys.path.remove(str(self.folder))
            self._modules = _pop_modules(hidden)
            sys.modules.update(others)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of the user's, whose code gets our `__import__`."""
        if fullname.partition(".")[0] not in self.names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path, self.builtins)
        return spec

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002  (the builtin's own names)
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        if level == 0 and name.partition(".")[0] not in self.names:
            return builtins.__import__(name, globals, locals, fromlist, level)
        with self.active():
            return builtins.__import__(name, globals, locals, fromlist, level)


def _print(*values: object, file: Any = None, **options: Any) -> None:
    """Print to standard error: standard output is for results, which programs may read."""
    print(*values, file=file or sys.stderr, **options)


class _Loader(SourceFileLoader):
    """Runs a module of the user's with the `__import__` that finds its neighbours."""

    def __init__(self, fullname: str, path: str, user_builtins: dict[str, Any]) -> None:
        super().__init__(fullname, path)
        self._user_builtins = user_builtins

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self._user_builtins
        super().exec_module(module)


def _pop_modules(names: set[str]) -> dict[str, ModuleType]:
    """Take the modules of these packages out of Python's table and return them."""
    return {
        name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names
    }

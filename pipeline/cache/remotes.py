"""A cache that machines share, by its URL or its folder."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pipeline.cache.entry import Entry
from pipeline.cache.folder_remote import FolderRemote
from pipeline.cache.store import Store
from pipeline.cache.urls import is_url, parse, without_secrets
from pipeline.errors import RemoteError, UsageError
from pipeline.paths import expanded, with_variables

_VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{\w+\})")


class Remote(Protocol):
    """What a shared cache does."""

    @property
    def name(self) -> str:
        """Where it is, for messages."""

    def check(self) -> None:
        """Make sure that it is there, as far as that can be seen without a listing."""

    def fetch(self, store: Store, stage: str, key: str) -> Entry | None:
        """Bring the entry of a key into a store that this process holds; None where it has none."""

    def pull(self, store: Store) -> int:
        """Bring every entry that a store lacks; return how many."""

    def push(self, store: Store, *, overwrite: bool = False) -> int:
        """Write every sound entry of a store that it lacks; return how many."""

    def push_entry(self, entry: Entry) -> None:
        """Write one entry, also where it has one of the key."""


def open_remote(
    text: str, root: Path = Path(), stop_asked: Callable[[], bool] = lambda: False
) -> Remote:
    """Return the shared cache at a URL or in a folder, relative to `root`; nothing is opened yet.

    Variables are replaced in both. `stop_asked` returns whether a signal asked to end a download.

    Raises:
        RemoteError: A variable in it is not set.
        UsageError: It is empty, or nothing opens the URL.
    """
    if not text.strip():
        raise UsageError("cache", "names no place (an empty text)", "give a URL or a folder")
    if unset := _VARIABLE.search(with_variables(text)):
        wrong = f"names a variable that is not set ({unset[0]})"
        raise RemoteError(without_secrets(text), wrong, "set it, or name the place itself")
    if not is_url(text):
        return FolderRemote(expanded(text, root), text)
    from pipeline.cache.url_remote import UrlRemote  # noqa: PLC0415  (folders need no threads)

    return UrlRemote(parse(with_variables(text)), stop_asked)

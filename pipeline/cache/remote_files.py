"""Files of a place that fsspec opens: what is there, one down, one up; none half-written."""

import contextlib
import errno
import posixpath
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.atomic import sync
from pipeline.cache import sftp, transfers
from pipeline.cache.remote_faults import as_error, is_of_file
from pipeline.cache.urls import READ_ONLY, SCHEMES, CacheUrl
from pipeline.errors import MadpipeError, RemoteError

_CONNECT_S = 5.0
_ANSWER_S = 15.0
_ATTEMPTS = 2
_LONGEST_S = 90.0
_SLOWEST_BYTES_PER_S = 65_536
_THREADS = 8
_LAYOUT = "v1"
# Clients that say a file's size before they read it, or count what they read.
_SAYS_SIZE = frozenset({"s3", "s3a", "gs", "gcs", "http", "https"})
_OUR_DISK = frozenset({errno.ENOSPC, errno.EFBIG, errno.EROFS, getattr(errno, "EDQUOT", -1)})


class Refused(Exception):
    """A file is none, or has more bytes than it may have; the message says which."""


class RemoteFiles:
    """The files below a URL, by their names from there on."""

    def __init__(self, url: CacheUrl, stop_asked: Callable[[], bool] = lambda: False) -> None:
        """Name the place; it is opened when it is first used.

        `stop_asked` returns whether a signal asked to end it.
        """
        self.url = url
        self._stop_asked = stop_asked
        self._has_ended = threading.Event()
        self._opened: tuple[Any, str] | None = None
        self._opening = threading.Lock()

    @property
    def workers(self) -> int:
        """How many threads may use it at once."""
        return 1 if self.url.kind is SCHEMES["sftp"] else _THREADS

    def end(self) -> None:
        """Let every transfer that is under way, in whatever thread, end with Interrupted."""
        self._has_ended.set()

    def _is_stopping(self) -> bool:
        return self._has_ended.is_set() or self._stop_asked()

    def check(self) -> None:
        """Make sure that the place is there, where a file that is absent does not say so.

        Raises:
            RemoteError: It is not, or the place cannot be used.
            UnavailableError: The package that opens it is not installed.
        """
        with self._faults():
            fs, root = self._open()
            if self.url.scheme in ("az", "abfs"):
                fs.info(root.partition("/")[0])  # else a container that is absent is an empty one
            elif self.url.scheme in ("gs", "gcs"):
                fs.ls(f"{root}/{_LAYOUT}")  # the same; to ask for the bucket itself is a right more
            elif not self.url.kind.is_object_store and self.url.scheme not in READ_ONLY:
                fs.info(root)

    def check_listed(self, folder: str) -> None:
        """Make sure that a folder can be listed, where a server may do without.

        Raises:
            RemoteError: It cannot, or it is a store that was pushed to by its path.
        """
        with self._faults():
            fs, root = self._open()
            if self.url.kind.is_object_store:
                return
            try:
                fs.ls(f"{root}/{folder}", detail=False)
            except FileNotFoundError as error:
                if fs.exists(f"{root}/layout.json"):
                    wrong = "was pushed to as a folder, which leaves other files (layout.json)"
                    remedy = "name it as the path of a folder, or push to it by URL as well"
                    raise RemoteError(self.url.name, wrong, remedy) from error
                if self.url.scheme in READ_ONLY:
                    wrong = f"has no list of its entries ({folder})"
                    remedy = "let its server list folders, or correct the URL; runs need no list"
                    raise RemoteError(self.url.name, wrong, remedy) from error

    def listing(self, *folders: str) -> dict[str, int | None]:
        """Return the name of every file in `folders` and below, and its bytes where they are known.

        Of an object store that is one listing, of the folder that `folders` have in common, with a
        request for each thousand names.

        Raises:
            RemoteError: The place cannot be used.
            UnavailableError: The package that opens it is not installed.
        """
        names: dict[str, int | None] = {}
        with self._faults():
            fs, root = self._open()
            if self.url.kind.is_object_store:
                files = fs.find(f"{root}/{posixpath.commonpath(folders)}", detail=True).values()
                return {str(file["name"]).removeprefix(f"{root}/"): file["size"] for file in files}
            for folder in folders:
                _list_below(fs, root, folder, names)
        return names

    def download(self, name: str, path: Path, *, limit_bytes: int) -> bool:
        """Write a file to `path`; return False where there is none.

        Raises:
            Interrupted: A stop was asked for.
            OSError: `path` cannot be written.
            Refused: It is no file, or has more than `limit_bytes`, of which no more are read.
            RemoteError: The place cannot be used.
            UnavailableError: The package that opens it is not installed.
        """
        with self._faults(path):
            fs, root = self._open()
            source = f"{root}/{name}"
            try:
                if self.url.scheme not in _SAYS_SIZE:
                    _check_file(fs.info(source), limit_bytes)
                self._transfer(
                    "get_file", source, path, size=limit_bytes, callback=self._bound(limit_bytes)
                )
            except FileNotFoundError as error:
                if not is_of_file(error):
                    raise
                return False
        return True

    def upload(self, path: Path, name: str) -> None:
        """Write a file, so that it is there whole or not at all.

        Raises:
            Interrupted: A stop was asked for.
            OSError: `path` cannot be read.
            RemoteError: The place cannot be used.
            UnavailableError: The package that opens it is not installed.
        """
        with self._faults(path):
            fs, root = self._open()
            target = f"{root}/{name}"
            if self.url.kind.is_object_store:
                self._transfer("put_file", path, target, size=path.stat().st_size)
                return
            part = f"{root}/parts/{uuid.uuid4().hex}"
            for file in (part, target):
                fs.makedirs(file.rpartition("/")[0], exist_ok=True)
            try:
                fs.put_file(str(path), part, callback=self._bound(path.stat().st_size))
                if self.url.scheme == "file":
                    sync(Path(part))
                    Path(part).replace(target)  # fsspec's own move goes through a copy on Windows
                    sync(Path(target).parent)
                else:
                    fs.mv(part, target)
            except BaseException:
                with contextlib.suppress(Exception):
                    fs.rm_file(part)
                raise

    def _open(self) -> tuple[Any, str]:
        """Return fsspec's client and the path of the URL in it."""
        with self._opening:
            return self._opened or self._connect()

    def _connect(self) -> tuple[Any, str]:
        scheme = self.url.scheme
        options = _options(scheme)
        client = _client_class(scheme)
        options |= client._get_kwargs_from_urls(self.url.text)  # noqa: SLF001  (fsspec's)
        fs = client(**options, skip_instance_cache=True)
        fs.dircache.use_listings_cache = False
        if scheme in ("s3", "s3a"):
            fs.retries = _ATTEMPTS
        self._opened = fs, str(client._strip_protocol(self.url.text)).rstrip("/")  # noqa: SLF001
        return self._opened

    def _transfer(
        self, call: str, source: Path | str, target: Path | str, *, size: int, **options: Any
    ) -> None:
        """Have the client bring a file, for as long as it may take and none asks to stop."""
        fs, _ = self._open()
        if not fs.async_impl:
            getattr(fs, call)(str(source), str(target), **options)
            return
        transfer = getattr(fs, f"_{call}")(str(source), str(target), **options)
        transfers.wait_for(
            transfer, fs.loop, limit_s=_patience_s(size), is_stopping=self._is_stopping
        )

    def _bound(self, limit_bytes: int) -> Any:
        """Return a callback of fsspec that ends a transfer which is too long or to be stopped."""
        from fsspec.callbacks import Callback  # noqa: PLC0415

        is_stopping = self._is_stopping

        class Bound(Callback):  # type: ignore[misc]  # fsspec has no types
            def set_size(self, size: int | None) -> None:
                super().set_size(size)
                _check_size(size, limit_bytes)

            def relative_update(self, inc: int = 1) -> None:
                super().relative_update(inc)
                _check_size(self.value, limit_bytes)
                transfers.check(is_stopping)

        return Bound()

    @contextlib.contextmanager
    def _faults(self, path: Path | None = None) -> Iterator[None]:
        """Raise errors of ours for what the client raises; what `path` raises stays as it is."""
        try:
            yield
        except (MadpipeError, Refused):
            raise
        except Exception as error:
            if isinstance(error, OSError) and path is not None:
                is_ours = error.errno in _OUR_DISK or error.filename in (path, str(path))
                if is_ours and self.url.scheme != "file":
                    raise
            raise as_error(error, self.url) from error


def _patience_s(size: int) -> float:
    """Return how long a transfer may take, where its client's own time-outs do not end it."""
    return _LONGEST_S + size / _SLOWEST_BYTES_PER_S


def _client_class(scheme: str) -> Any:
    """Return fsspec's class for a scheme; its import waits until a place is opened."""
    if scheme in ("sftp", "ssh"):
        return sftp.client_class()
    import fsspec  # noqa: PLC0415

    return fsspec.get_filesystem_class(scheme)


def _options(scheme: str) -> dict[str, Any]:
    """Return how a client waits: for seconds and not for minutes."""
    match scheme:
        case "s3" | "s3a":
            retries = {"total_max_attempts": _ATTEMPTS, "mode": "standard"}
            waits = {"connect_timeout": _CONNECT_S, "read_timeout": _ANSWER_S}
            return {"config_kwargs": waits | {"retries": retries}}
        case "az" | "abfs":
            return {"connection_timeout": int(_CONNECT_S), "read_timeout": int(_ANSWER_S)}
        case "http" | "https" | "gs" | "gcs":
            import aiohttp  # noqa: PLC0415

            wait = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_ANSWER_S)
            is_web = scheme in READ_ONLY
            return {"client_kwargs": {"timeout": wait}} if is_web else {"requests_timeout": wait}
        case _:
            return {}


def _list_below(fs: Any, root: str, folder: str, names: dict[str, int | None]) -> None:
    """Add the files in a folder and in those right in it; links do not count."""
    waiting = [(folder, True)]
    while waiting:
        parent, is_top = waiting.pop()
        try:
            inside = fs.ls(f"{root}/{parent}", detail=True)
        except FileNotFoundError:
            continue
        for info in inside:
            name = str(info["name"]).rstrip("/").removeprefix(f"{root}/")
            if not name.startswith(f"{parent}/") or info.get("islink"):
                continue
            if info["type"] == "directory" and is_top:
                waiting.append((name, False))
            elif info["type"] == "file":
                names[name] = info["size"]


def _check_file(info: dict[str, Any], limit_bytes: int) -> None:
    if info["type"] != "file" or info.get("islink"):
        message = f"it is a {'link' if info.get('islink') else info['type']} and no file"
        raise Refused(message)
    _check_size(info["size"], limit_bytes)


def _check_size(size: int | None, limit_bytes: int) -> None:
    if size is not None and size > limit_bytes:
        message = f"it has more than the {limit_bytes} bytes that it may have"
        raise Refused(message)

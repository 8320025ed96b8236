"""SFTP to hosts that the user's SSH knows, whose transfers can be stopped.

fsspec's own client takes whatever key a host presents, and so would give password and entries to
whoever answers. Nor does it say how far a transfer is, so that none could be ended in the middle.
"""

from collections.abc import Callable
from typing import Any

_TIMEOUT_S = 10.0
_ANSWER_S = 30.0


def client_class() -> Any:
    """Return fsspec's client for SFTP, less hosts that `~/.ssh/known_hosts` does not have.

    Raises:
        ImportError: paramiko is not installed.
    """
    import paramiko  # noqa: PLC0415  (an extra)
    from fsspec.implementations.sftp import SFTPFileSystem  # noqa: PLC0415

    class KnownHosts(SFTPFileSystem):  # type: ignore[misc]  # fsspec has no types
        def _connect(self) -> None:
            """Connect, with keys of the agent, of `~/.ssh`, or a password."""
            self.client = paramiko.SSHClient()
            self.client.load_system_host_keys()
            self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
            waits = dict.fromkeys(("timeout", "banner_timeout", "auth_timeout"), _TIMEOUT_S)
            self.client.connect(self.host, **waits, **self.ssh_kwargs)
            self.ftp = self.client.open_sftp()
            self.ftp.get_channel().settimeout(_ANSWER_S)

        def get_file(self, rpath: str, lpath: str, *, callback: Any, **_: Any) -> None:
            """Read a file; what `callback` raises ends it."""
            self.ftp.get(rpath, lpath, callback=_steps(callback))

        def put_file(self, lpath: str, rpath: str, *, callback: Any, **_: Any) -> None:
            """Write a file into a folder that is there; what `callback` raises ends it."""
            self.ftp.put(lpath, rpath, callback=_steps(callback))

    return KnownHosts


def _steps(callback: Any) -> Callable[[int, int], None]:
    """Return paramiko's kind of callback, which tells fsspec's kind how much has come."""

    def on_progress(done: int, _total: int) -> None:
        callback.relative_update(done - callback.value)

    return on_progress

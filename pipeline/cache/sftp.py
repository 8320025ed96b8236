"""SFTP to hosts that the user's SSH knows.

fsspec's own client takes whatever key a host presents, and so would give password and entries to
whoever answers.
"""

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

    return KnownHosts

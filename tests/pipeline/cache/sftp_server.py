"""A real SFTP server on loopback, paramiko's."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko


class _Authentication(paramiko.ServerInterface):  # type: ignore[misc]  # no types
    """One user with a password."""

    def check_auth_password(self, username: str, password: str) -> int:
        is_right = (username, password) == ("me", "secret")
        return int(paramiko.AUTH_SUCCESSFUL if is_right else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        assert kind == "session", chanid
        return int(paramiko.OPEN_SUCCEEDED)

    def get_allowed_auths(self, username: str) -> str:
        assert username
        return "password"


def _attributes(path: Path) -> Any:
    attributes = paramiko.SFTPAttributes.from_stat(path.lstat())
    attributes.filename = path.name
    return attributes


class _Files(paramiko.SFTPServerInterface):  # type: ignore[misc]  # no types
    """The files of this machine."""

    def list_folder(self, path: str) -> Any:
        try:
            return [_attributes(file) for file in Path(path).iterdir()]
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(Path(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    lstat = stat

    def open(self, path: str, flags: int, attr: Any) -> Any:
        assert attr is not None
        mode = "r+b" if flags & (os.O_WRONLY | os.O_RDWR) else "rb"
        try:
            file = os.fdopen(os.open(path, flags, 0o600), mode)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        handle = paramiko.SFTPHandle(flags)
        handle.readfile = handle.writefile = file
        return handle

    def _done(self, call: Callable[[], object]) -> int:
        try:
            call()
        except OSError as error:
            return int(paramiko.SFTPServer.convert_errno(error.errno or 0))
        return int(paramiko.SFTP_OK)

    def mkdir(self, path: str, attr: Any) -> int:
        assert attr is not None
        return self._done(Path(path).mkdir)

    def remove(self, path: str) -> int:
        return self._done(Path(path).unlink)

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        return self._done(lambda: Path(oldpath).replace(newpath))


@contextlib.contextmanager
def sftp_server(known_hosts: Path) -> Iterator[int]:
    """Serve the files of this machine to `me` with the password `secret`; yield the port.

    Its host key is written to `known_hosts`.
    """
    key = paramiko.ECDSAKey.generate()
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    known_hosts.parent.mkdir(exist_ok=True)
    line = f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n"
    known_hosts.write_text(line, encoding="utf-8")
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # it was closed
            transport = paramiko.Transport(connection)
            transports.append(transport)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files)
            with contextlib.suppress(paramiko.SSHException, EOFError):
                transport.start_server(server=_Authentication())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield port
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
        for transport in transports:
            transport.close()

"""Where a shared cache lies: a URL that fsspec opens, or a folder. Light: it imports no client."""

import re
from typing import NamedTuple

from pipeline.errors import UsageError, did_you_mean


class Scheme(NamedTuple):
    """What is known of the places that a scheme names."""

    extra: str | None
    """The extra of madpipe that brings its client, None where nothing more is needed."""
    container: str
    """What the first name of a URL stands for."""
    is_object_store: bool = False
    """Whether one request lists all names, and a write is there whole or not at all."""
    credentials: str = "check who may read and write there"
    """Where its client looks for credentials, for messages."""


_AWS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile of ~/.aws by AWS_PROFILE"
_GOOGLE = "set GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud auth application-default login"
_AZURE = "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and _KEY"
_SSH = "use a key of your SSH agent or of ~/.ssh, and name the user as in sftp://USER@HOST/PATH"
_HTTP = "name user and password in the URL as $VARIABLES, or in fsspec's own settings"

_S3 = Scheme("s3", "bucket", is_object_store=True, credentials=_AWS)
_GCS = Scheme("gcs", "bucket", is_object_store=True, credentials=_GOOGLE)
_BLOBS = Scheme("azure", "container", is_object_store=True, credentials=_AZURE)
_SFTP = Scheme("sftp", "host", credentials=_SSH)
_WEB = Scheme("http", "host", credentials=_HTTP)
SCHEMES = {
    "s3": _S3,
    "s3a": _S3,
    "gs": _GCS,
    "gcs": _GCS,
    "az": _BLOBS,
    "abfs": _BLOBS,
    "sftp": _SFTP,
    "ssh": _SFTP,
    "http": _WEB,
    "https": _WEB,
    "file": Scheme(None, "folder"),
}
"""Those that madpipe has an extra for, or needs none."""
READ_ONLY = frozenset({"http", "https"})
_LISTED = "one of s3, gs, az, sftp, https, file"
# Places whose clients fsspec knows. Left out are wrappers around other places, archives, memory,
# what lies in notebooks and in repositories, whose clients start programs, and what packages add.
_OTHERS = frozenset(
    {
        "adl",
        "arrow_hdfs",
        "box",
        "dbfs",
        "dropbox",
        "ftp",
        "gdrive",
        "hdfs",
        "hf",
        "lakefs",
        "oci",
        "ocilake",
        "oss",
        "root",
        "smb",
        "tos",
        "tosfs",
        "webdav",
        "webhdfs",
    }
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


class CacheUrl(NamedTuple):
    """A URL of a shared cache that `fault_of` has nothing against."""

    text: str
    """As its client takes it, with user and password where it has them."""
    scheme: str

    @property
    def name(self) -> str:
        """The URL for messages, without user and password."""
        return without_secrets(self.text)

    @property
    def kind(self) -> Scheme:
        """What is known of its scheme; of others, next to nothing."""
        return SCHEMES.get(self.scheme, Scheme(None, "host"))

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold."""
        head = self.text.partition("://")[2].partition("/")[0]
        user = head.rpartition("@")[0] if self.kind is not _BLOBS else ""
        return tuple(filter(None, (user, user.partition(":")[2])))


def is_url(text: str) -> bool:
    """Return whether a text is meant as a URL and not as a folder."""
    return "://" in text or _lacks_slashes(text)


def _lacks_slashes(text: str) -> bool:
    """Return whether a text is a URL with fewer slashes than it needs, as s3:/BUCKET."""
    scheme, colon, _ = text.partition(":")
    return bool(colon) and "://" not in text and scheme.lower() in SCHEMES


def parse(text: str) -> CacheUrl:
    """Return a URL of a shared cache.

    Raises:
        UsageError: Nothing opens it.
    """
    if fault := fault_of(text):
        raise UsageError(without_secrets(text), *fault)
    scheme = _scheme_of(text)
    rest = text.partition("://")[2].rstrip("/")
    return CacheUrl(f"{scheme}://{rest}", scheme)  # clients take S3:// and FILE:// for paths


def fault_of(text: str) -> tuple[str, str] | None:
    """Return what is wrong with a URL and what to do, None where nothing is."""
    if _lacks_slashes(text):
        scheme = text.partition(":")[0]
        return f"has no // behind {scheme}:", f"write {scheme}://, or ./ before a folder's name"
    scheme, rest = _scheme_of(text), text.partition("://")[2]
    if not _SCHEME.fullmatch(scheme) or scheme not in SCHEMES:
        if scheme in _OTHERS:
            return None
        guess = did_you_mean(scheme, sorted(SCHEMES)) or did_you_mean(scheme, sorted(_OTHERS))
        return f"unknown scheme{guess} ({scheme})", f"use {_LISTED}, or the path of a folder"
    kind = SCHEMES[scheme]
    head = rest.partition("/")[0]
    if scheme == "file":
        if not rest.startswith("/"):
            return f"is not the path of a folder ({rest})", "write file:///PATH, from the root on"
        return None
    if _has_odd_port(head):
        remedy = "write / there as %2F" if kind is _WEB else kind.credentials
        return "has a port that is no number, or a / in its password", remedy
    if not head.rpartition("@")[2]:
        return (
            f"names no {kind.container} ({without_secrets(text)})",
            f"write {scheme}://{kind.container.upper()}/PATH",
        )
    if kind in (_S3, _GCS) and "@" in head:
        return f"has user and password, which {scheme} does not take from a URL", kind.credentials
    if kind in (_WEB, _BLOBS) and ("?" in rest or "#" in rest):
        return "has a query or fragment, behind which no file can be named", "leave it out"
    return None


def without_secrets(text: str) -> str:
    """Return a URL without user, password and query."""
    if _lacks_slashes(text):  # nobody knows where in it a password would stand
        return f"{text.partition(':')[0]}:***"
    scheme, separator, rest = text.partition("://")
    head, slash, path = rest.partition("/")
    if _has_odd_port(head):  # what follows may be the rest of a password
        return f"{scheme}{separator}***"
    if SCHEMES.get(scheme.lower()) is _BLOBS:  # there CONTAINER@ACCOUNT is usual
        return text.partition("?")[0]
    path = path.partition("?")[0] if separator else path
    return f"{scheme}{separator}{head.rpartition('@')[2]}{slash}{path}"


def _has_odd_port(head: str) -> bool:
    """Return whether the head of a URL ends in the part of a password before its first `/`."""
    port = head.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    return bool(port) and not port.isdecimal()


def _scheme_of(text: str) -> str:
    return text.partition("://")[0].lower()

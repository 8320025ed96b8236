"""What the clients of shared caches raise, as errors that say what is wrong and what to do.

Clients are known by the names of their exceptions, so that none of them is imported here.
"""

import re
import socket
from collections.abc import Iterator

from pipeline.cache.urls import CacheUrl
from pipeline.errors import MadpipeError, RemoteError, UnavailableError, error_summary

_NO_CONTAINER = frozenset({"NoSuchBucket", "InvalidBucketName", "ContainerNotFound"})
_REFUSED = frozenset(
    {
        # Codes of S3.
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "401",
        "403",
        # Exceptions of botocore, Google, Azure and paramiko.
        "AuthenticationException",
        "ClientAuthenticationError",
        "CredentialRetrievalError",
        "DefaultCredentialsError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "PasswordRequiredException",
        "PermissionError",
        "ProfileNotFound",
        "RefreshError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)
_UNREACHABLE = frozenset(
    {
        "ClientConnectionError",
        "ConnectTimeoutError",
        "ConnectionError",
        "EndpointConnectionError",
        "FSTimeoutError",
        "HTTPClientError",
        "NoValidConnectionsError",
        "ReadTimeoutError",
        "ServiceRequestError",
        "ServiceResponseError",
        "TimeoutError",
        "gaierror",
    }
)
_NO_AUTHENTICATION = "No authentication methods available"
_NO_BUCKET = "bucket does not exist"  # Google's words
_NO_BANNER = "Error reading SSH protocol banner"
_UNKNOWN_HOST = "not found in known_hosts"


def is_of_file(error: FileNotFoundError) -> bool:
    """Return whether it is one file that is not there, and not the bucket or the server itself."""
    chain = list(_chain(error))
    codes = {code for item in chain if (code := _code_of(item))}
    return not codes - {"NoSuchKey"} and not _is_of_container(chain)


def as_error(error: BaseException, url: CacheUrl) -> MadpipeError:
    """Return the error to raise for what a client of `url` raised."""
    if isinstance(error, MadpipeError):
        return error
    chain = list(_chain(error))
    if any(isinstance(item, ImportError) for item in chain):
        return _not_installed(chain, url)
    names = {name for item in chain for name in _names_of(item)}
    seen, kind = _seen(chain, url), url.kind
    text = " ".join(map(str, chain))
    if "BadHostKeyException" in names or _UNKNOWN_HOST in text:
        wrong = f"its host key is not the one that ~/.ssh/known_hosts has, or is not there ({seen})"
        return RemoteError(url.name, wrong, "connect once with ssh, and compare the fingerprint")
    if _is_of_container(chain):
        wrong = f"there is no such {kind.container} ({seen})"
        return RemoteError(url.name, wrong, f"create the {kind.container}, or correct the URL")
    if names & _REFUSED or _NO_AUTHENTICATION in text:
        wrong = f"the credentials are wrong, absent, or not for this ({seen})"
        return RemoteError(url.name, wrong, kind.credentials)
    if names & _UNREACHABLE or _NO_BANNER in text or "SSHException" in names:
        wrong = f"cannot be reached ({seen})"
        return RemoteError(url.name, wrong, "check the address, the network and its proxy")
    if isinstance(error, FileNotFoundError):
        words = dict.fromkeys((kind.container, "folder"))
        wrong = f"there is no such {' or '.join(words)} ({seen})"
        return RemoteError(url.name, wrong, "correct the URL, or push to it first")
    remedy = "see what its own client says of it"
    if url.scheme == "file":
        remedy = "free space or give write access, then repeat the command"
    return RemoteError(url.name, f"cannot be used ({seen})", remedy)


def _is_of_container(chain: list[BaseException]) -> bool:
    names = {name for item in chain for name in _names_of(item)}
    return bool(names & _NO_CONTAINER) or _NO_BUCKET in " ".join(map(str, chain))


def _not_installed(chain: list[BaseException], url: CacheUrl) -> UnavailableError:
    missing = next(item for item in chain if isinstance(item, ImportError))
    extra = url.kind.extra
    remedy = f"install madpipe[{extra}]" if extra else "install the package that it names"
    wrong = f"needs a package that is not installed ({missing.name or missing})"
    return UnavailableError(url.name, wrong, remedy)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it came of."""
    current: BaseException | None = error
    while current is not None:
        yield current
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)


def _names_of(error: BaseException) -> Iterator[str]:
    """Yield by what an exception can be known: its classes, and the code of the server's answer."""
    yield from (kind.__name__ for kind in type(error).__mro__)
    yield _code_of(error)
    for name in ("status", "status_code", "code", "error_code"):
        value = getattr(error, name, None)
        if isinstance(value, int | str):
            yield str(value)
    if isinstance(error, socket.gaierror):
        yield "gaierror"


def _code_of(error: BaseException) -> str:
    """Return the code of an answer of S3, empty where it is no answer."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _seen(chain: list[BaseException], url: CacheUrl) -> str:
    """Return what was raised first, in one line and without what is secret."""
    # A wait that was ended cancels what waited, which says nothing.
    causes = [item for item in chain if type(item).__name__ != "CancelledError"]
    first = (causes or chain)[-1]
    text = error_summary(first)
    if isinstance(first, OSError) and first.strerror and url.scheme == "file":
        text = first.strerror
    for secret in url.secrets:
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    return text

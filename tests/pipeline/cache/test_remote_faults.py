"""What clients raise is named by its cause, without what is secret in the URL."""

import pytest

from pipeline.cache.remote_faults import as_error
from pipeline.cache.urls import parse
from pipeline.errors import RemoteError, UnavailableError

URL = parse("https://me:pa55word@host/a")


class HttpError(Exception):
    """An answer of a server, as several clients raise it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@pytest.mark.parametrize(
    ("error", "wrong"),
    [
        (HttpError(403), "the credentials are wrong"),
        (HttpError(401), "the credentials are wrong"),
        (HttpError(500), "cannot be used"),
        (TimeoutError("slow"), "cannot be reached"),
        (ConnectionResetError("reset"), "cannot be reached"),
        (FileNotFoundError("a"), "there is no such host or folder"),
        (OSError("The specified bucket does not exist."), "there is no such host"),
        (ValueError("odd"), "cannot be used (ValueError: odd)"),
    ],
)
def test_a_cause_is_named(error: Exception, wrong: str) -> None:
    fault = as_error(error, URL)
    assert isinstance(fault, RemoteError)
    assert fault.wrong.startswith(wrong)
    assert fault.place == "https://host/a"


def test_the_cause_behind_an_error_counts() -> None:
    outer = OSError("wrapped")
    outer.__cause__ = HttpError(403)
    assert "the credentials are wrong" in str(as_error(outer, URL))
    outer = OSError("wrapped")
    outer.__context__ = ImportError("install it", name="somefs")
    assert isinstance(as_error(outer, URL), UnavailableError)


def test_errors_of_ours_stay_as_they_are() -> None:
    fault = RemoteError("a", "b", "c")
    assert as_error(fault, URL) is fault


def test_no_message_shows_user_or_password() -> None:
    error = ValueError("https://me:pa55word@host/a refused pa55word, not pa55words")
    text = str(as_error(error, URL))
    assert "https://***@host/a refused ***, not pa55words" in text


def test_a_full_folder_is_said_without_the_name_of_an_exception() -> None:
    error = OSError(28, "No space left on device", "/mnt/a/parts/1")
    assert str(as_error(error, parse("file:///mnt/a"))) == (
        "file:///mnt/a: cannot be used (No space left on device); free space or give write access, "
        "then repeat the command"
    )

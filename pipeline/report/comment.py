"""One comment on a pull request, written the first time and updated in place after that.

It is found again by a marker in its first line, which names the job, so that several jobs do not
write over each other's. GitHub's REST API is used with the standard library alone, at the address
that GITHUB_API_URL names. The token goes to that address and appears in no message.
"""

import hashlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pipeline.errors import MadpipeError, UsageError

TIMEOUT_S = 20.0
_MOST_CHARACTERS = 60_000
"""GitHub takes 65,536."""
_MOST_RESPONSE_BYTES = 20_000_000
_PAGE = 100
_MOST_PAGES = 50
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_TRUSTED = {"OWNER", "MEMBER", "COLLABORATOR"}
"""Whose comments may be taken for ours beside a bot's: anyone may write a marker."""
_CUT = "\n\n(Cut here: all of it is in the job's summary and in its artifact.)\n"
_PERMISSION = (
    "let the job have the permission pull-requests: write; a pull request from a fork has a token "
    "that only reads"
)


class CommentError(MadpipeError):
    """GitHub did not take the comment."""


class PullRequest(NamedTuple):
    """A pull request, and how to reach it."""

    api: str
    repository: str
    number: int
    token: str

    def __repr__(self) -> str:
        """Return all but the token."""
        return f"PullRequest({self.api}, {self.repository}, {self.number})"


def pull_request(environment: Mapping[str, str], number: int | None = None) -> PullRequest:
    """Return the pull request that a workflow's variables name, or its `number` in that repository.

    Raises:
        UsageError: They name none, or hold no token.
    """
    api = environment.get("GITHUB_API_URL") or "https://api.github.com"
    repository = environment.get("GITHUB_REPOSITORY", "")
    if not api.startswith(("https://", "http://")):
        raise UsageError("GITHUB_API_URL", f"is no address of a web server ({api})", "correct it")
    if not _REPOSITORY.fullmatch(repository):
        wrong = f"names no repository as OWNER/NAME ({repository or 'absent'})"
        raise UsageError("GITHUB_REPOSITORY", wrong, "run this in a workflow, or set it")
    token = environment.get("GITHUB_TOKEN", "")
    if not token.isascii() or not token.isprintable() or not token:
        wrong = "holds no token (absent, empty or not of printable ASCII)"
        raise UsageError("GITHUB_TOKEN", wrong, "set it in the environment of the step")
    if number is None:
        number = _number_of_event(environment.get("GITHUB_EVENT_PATH"))
    return PullRequest(api.rstrip("/"), repository, number, token)


def _number_of_event(path: str | None) -> int:
    """Return the number of the pull request of an event, also of a run that another run started."""
    remedy = "name the pull request with --pull-request"
    try:
        event = json.loads(Path(path).read_bytes()) if path else None
    except (OSError, ValueError) as error:
        raise UsageError(str(path), f"is no event of GitHub ({error})", remedy) from error
    match event:
        case {"pull_request": {"number": int(number)}}:
            return number
        case {"workflow_run": {"pull_requests": [{"number": int(number)}, *_]}}:
            return number
        case _:
            wrong = f"is no event of a pull request ({path or 'absent'})"
            raise UsageError("GITHUB_EVENT_PATH", wrong, remedy)


def marker(key: str) -> str:
    """Return the first line of the comments of one job."""
    return f"<!-- madpipe report: {hashlib.sha256(key.encode()).hexdigest()[:16]} -->"


def body_of(key: str, parts: Sequence[str]) -> str:
    """Return a comment of several texts; where it is too long, the longest of them are cut."""
    texts = list(parts)
    room = _MOST_CHARACTERS
    by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    for number, index in enumerate(by_length):
        texts[index] = _cut(texts[index], room // (len(texts) - number))
        room -= len(texts[index])
    return "\n\n".join([marker(key), *texts])


def _cut(text: str, most: int) -> str:
    """Return a text of so many characters at most, cut after a line where it is longer."""
    if len(text) <= most:
        return text
    kept = text[: most - len(_CUT)]
    return (kept.rpartition("\n")[0] or kept) + _CUT


def put(place: PullRequest, key: str, body: str, timeout_s: float = TIMEOUT_S) -> str:
    """Write a comment, or write over the one that bears the same key; return its address.

    Raises:
        CommentError: GitHub cannot be reached in time, or refuses.
    """
    base = f"{place.api}/repos/{place.repository}/issues"
    number = _find(place, f"{base}/{place.number}/comments", marker(key), timeout_s)
    if number is None:
        answer = _request(place, "POST", f"{base}/{place.number}/comments", body, timeout_s)
    else:
        answer = _request(place, "PATCH", f"{base}/comments/{number}", body, timeout_s)
    return str(answer.get("html_url", "")) if isinstance(answer, dict) else ""


def _find(place: PullRequest, url: str, mark: str, timeout_s: float) -> int | None:
    """Return the number of the first comment with a mark that a bot or a member wrote."""
    for page in range(1, _MOST_PAGES + 1):
        query = f"{url}?per_page={_PAGE}&page={page}"
        comments = _request(place, "GET", query, None, timeout_s)
        if not isinstance(comments, list):
            raise CommentError(url, "answered with no list of comments", "check GITHUB_API_URL")
        for comment in comments:
            match comment:
                case {"id": int(number), "body": str(body)} if body.startswith(mark):
                    is_bot = (comment.get("user") or {}).get("type") == "Bot"
                    if is_bot or comment.get("author_association") in _TRUSTED:
                        return number
        if len(comments) < _PAGE:
            return None
    return None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nowhere, since the token would go along."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return no request, so that the answer counts as refused."""


def _request(
    place: PullRequest,
    method: Literal["GET", "POST", "PATCH"],
    url: str,
    body: str | None,
    timeout_s: float,
) -> Any:
    headers = {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {place.token}",
        "Content-Type": "application/json",
        "User-Agent": "madpipe",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    content = None if body is None else json.dumps({"body": body}).encode()
    request = urllib.request.Request(url, content, headers, method=method)  # noqa: S310  (http or https)
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return json.loads(response.read(_MOST_RESPONSE_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(place, url, error) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        wrong = f"cannot be reached ({reason or type(error).__name__})"
        raise CommentError(url, _without(place.token, wrong), "repeat the job") from None
    except ValueError as error:
        wrong = f"answered with no JSON ({error})"
        raise CommentError(url, _without(place.token, wrong), "check GITHUB_API_URL") from None


def _refused(place: PullRequest, url: str, error: urllib.error.HTTPError) -> CommentError:
    """Return what an answer that is no success means, in one line."""
    try:
        message = json.loads(error.read(10_000)).get("message", "")
    except (OSError, HTTPException, ValueError, AttributeError):
        message = ""
    words = " ".join(f"{error.code} {message or error.reason}".split())[:200]
    is_permission = error.code in {401, 403, 404}
    remedy = _PERMISSION if is_permission else "repeat the job"
    return CommentError(url, _without(place.token, f"refused the comment ({words})"), remedy)


def _without(token: str, text: str) -> str:
    return text.replace(token, "***")

"""One comment on a pull request, written once and then updated, against a server like GitHub's."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.report.comment import CommentError, PullRequest, body_of, marker, pull_request, put
from tests.github_api import CommentsApi, comments_api

TOKEN = "ghs_secret"  # noqa: S105  (no token of anything)


@pytest.fixture
def api() -> Iterator[CommentsApi]:
    with comments_api() as server:
        yield server


@pytest.fixture
def place(api: CommentsApi) -> PullRequest:
    return PullRequest(api.url, "o/r", 7, TOKEN)


def test_a_comment_is_written_once_and_updated_in_place(
    api: CommentsApi, place: PullRequest
) -> None:
    address = put(place, "a", body_of("a", ["first"]))
    assert address == "https://github.example/o/r/pull/7#0"
    assert put(place, "a", body_of("a", ["second"])) == address
    (comment,) = api.comments
    assert comment["body"] == f"{marker('a')}\n\nsecond"
    assert [method for method, _ in api.requests] == ["GET", "POST", "GET", "PATCH"]
    assert api.tokens == {f"Bearer {TOKEN}"}


def test_jobs_do_not_write_over_each_other(api: CommentsApi, place: PullRequest) -> None:
    for key in ("a", "b", "a", "b"):
        put(place, key, body_of(key, [key]))
    assert [comment["body"][-1] for comment in api.comments] == ["a", "b"]


def test_a_comment_beyond_the_first_page_is_met(api: CommentsApi, place: PullRequest) -> None:
    for number in range(230):
        api.add(f"comment {number}", kind="User")
    put(place, "a", body_of("a", ["first"]))
    put(place, "a", body_of("a", ["second"]))
    assert (len(api.comments), api.comments[230]["body"][-6:]) == (231, "second")
    assert api.requests[2] == ("GET", "/repos/o/r/issues/7/comments?per_page=100&page=3")


def test_a_page_that_is_just_full_is_followed_by_an_empty_one(
    api: CommentsApi, place: PullRequest
) -> None:
    for number in range(100):
        api.add(f"comment {number}")
    put(place, "a", body_of("a", ["first"]))
    assert len(api.comments) == 101


def test_a_strangers_comment_is_left_alone_whatever_its_first_line(
    api: CommentsApi, place: PullRequest
) -> None:
    api.add(marker("a"), kind="User", association="CONTRIBUTOR")
    api.add(f"> {marker('a')}")
    put(place, "a", body_of("a", ["first"]))
    assert [comment["body"] for comment in api.comments[:2]] == [marker("a"), f"> {marker('a')}"]
    api.comments[2]["user"] = {"type": "User"}
    api.comments[2]["author_association"] = "MEMBER"
    put(place, "a", body_of("a", ["second"]))
    assert len(api.comments) == 3


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(401, "pull-requests: write"), (403, "from a fork"), (404, "write"), (500, "repeat the job")],
)
def test_a_refusal_says_what_to_do_and_never_the_token(
    api: CommentsApi, place: PullRequest, status: int, remedy: str
) -> None:
    api.status = status
    with pytest.raises(CommentError) as refused:
        put(place, "a", "text")
    assert f"refused the comment ({status} not for Bearer ***)" in str(refused.value)
    assert remedy in str(refused.value)
    assert TOKEN not in f"{refused.value}{refused.value!r}{place!r}"
    assert refused.value.__cause__ is None


def test_a_redirect_is_not_followed(api: CommentsApi, place: PullRequest) -> None:
    api.status = 307
    with pytest.raises(CommentError, match="307"):
        put(place, "a", "text")
    assert len(api.requests) == 1


def test_a_server_that_is_silent_is_waited_for_so_long_only(
    api: CommentsApi, place: PullRequest
) -> None:
    api.delay_s = 0.6
    with pytest.raises(CommentError, match=r"cannot be reached \(.*timed out"):
        put(place, "a", "text", timeout_s=0.1)


def test_a_server_that_is_not_there_or_answers_otherwise_is_named(api: CommentsApi) -> None:
    with pytest.raises(CommentError, match="cannot be reached"):
        put(PullRequest("http://127.0.0.1:9", "o/r", 7, TOKEN), "a", "text")
    with pytest.raises(CommentError, match="refused"):
        put(PullRequest(f"{api.url}/other", "o/r", 7, TOKEN), "a", "text")


def test_an_answer_that_is_no_list_of_comments_is_refused(
    api: CommentsApi, place: PullRequest
) -> None:
    api.answer = b'{"no": "list"}'
    with pytest.raises(CommentError, match="answered with no list of comments"):
        put(place, "a", "text")
    api.answer = b"<html>"
    with pytest.raises(CommentError, match="answered with no JSON"):
        put(place, "a", "text")


def test_a_long_report_is_cut_where_it_is_longest() -> None:
    long = "\n".join(f"line {number}" for number in range(20_000))
    body = body_of("a", ["short", long, "also short"])
    assert 50_000 < len(body) <= 65_536
    assert body.startswith(f"{marker('a')}\n\nshort\n\nline 0\n")
    assert "Cut here" in body
    assert body.endswith("also short")
    assert len(body_of("a", [long, long])) <= 65_536
    assert body_of("a", ["x" * 70_000]).endswith("artifact.)\n")


@pytest.mark.parametrize(
    ("event", "number"),
    [
        ({"pull_request": {"number": 7}}, 7),
        ({"workflow_run": {"pull_requests": [{"number": 8}, {"number": 9}]}}, 8),
    ],
)
def test_the_pull_request_is_that_of_the_event(
    tmp_path: Path, event: dict[str, object], number: int
) -> None:
    path = tmp_path / "event.json"
    path.write_text(json.dumps(event), encoding="utf-8")
    variables = {
        "GITHUB_EVENT_PATH": str(path),
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_API_URL": "https://api.example/v3/",
    }
    assert pull_request(variables) == PullRequest("https://api.example/v3", "o/r", number, TOKEN)
    assert pull_request(variables, 3).number == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"GITHUB_API_URL": "file:///etc/x"}, "GITHUB_API_URL: is no address"),
        ({"GITHUB_REPOSITORY": ""}, "GITHUB_REPOSITORY: names no repository"),
        ({"GITHUB_REPOSITORY": "o/r/../x"}, "GITHUB_REPOSITORY: names no repository"),
        ({"GITHUB_TOKEN": ""}, "GITHUB_TOKEN: holds no token"),
        ({"GITHUB_TOKEN": "a\nb"}, "GITHUB_TOKEN: holds no token"),
        ({}, "is no event of a pull request"),
        ({"GITHUB_EVENT_PATH": "/no/such"}, "is no event of GitHub"),
        ({"GITHUB_EVENT_PATH": None}, "GITHUB_EVENT_PATH: is no event of a pull request"),
    ],
)
def test_what_names_no_pull_request_is_refused(
    tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    path = tmp_path / "event.json"
    path.write_text('{"ref": "refs/heads/main"}', encoding="utf-8")
    variables = {
        "GITHUB_EVENT_PATH": str(path),
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_TOKEN": TOKEN,
    } | changes
    with pytest.raises(UsageError, match=message) as refused:
        pull_request({name: value for name, value in variables.items() if value is not None})
    assert "a\nb" not in str(refused.value)

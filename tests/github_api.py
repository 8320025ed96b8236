"""A server on loopback that answers as GitHub's API of comments does."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Comment = dict[str, Any]
_LIST = re.compile(r"/repos/o/r/issues/7/comments")
_ONE = re.compile(r"/repos/o/r/issues/comments/(\d+)")


class CommentsApi(ThreadingHTTPServer):
    """Comments on pull request 7 of o/r, and every request that came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.comments: list[Comment] = []
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str] = set()
        self.status = 0
        """Answered to all that writes, where not 0."""
        self.delay_s = 0.0
        self.answer = b""
        """Answered in place of all lists, where not empty."""

    @property
    def url(self) -> str:
        """Return the server's address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Write nothing of a client that went away."""

    def add(self, body: str, kind: str = "Bot", association: str = "NONE") -> Comment:
        """Add a comment."""
        comment = {
            "id": 100 + len(self.comments),
            "body": body,
            "user": {"login": "someone", "type": kind},
            "author_association": association,
            "html_url": f"https://github.example/o/r/pull/7#{len(self.comments)}",
        }
        self.comments.append(comment)
        return comment


class _Handler(BaseHTTPRequestHandler):
    server: CommentsApi

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name there)
        """Write nothing."""

    def _answer(self, status: int, value: Any, **headers: str) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _serve(self) -> None:
        server, place = self.server, urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        content = json.loads(self.rfile.read(length)) if length else {}
        server.requests.append((self.command, self.path))
        server.tokens.add(self.headers["Authorization"])
        time.sleep(server.delay_s)
        if server.status in {301, 307}:
            self._answer(server.status, {}, Location=f"{server.url}/elsewhere")
        elif server.status and self.command != "GET":
            token = self.headers["Authorization"]
            self._answer(server.status, {"message": f"not\nfor {token}"})
        elif self.command == "GET" and server.answer:
            self._answer(200, server.answer)
        elif self.command == "GET" and _LIST.fullmatch(place.path):
            query = {name: int(values[0]) for name, values in parse_qs(place.query).items()}
            begin = (query["page"] - 1) * query["per_page"]
            self._answer(200, server.comments[begin : begin + query["per_page"]])
        elif self.command == "POST" and _LIST.fullmatch(place.path):
            self._answer(201, server.add(content["body"]))
        elif self.command == "PATCH" and (match := _ONE.fullmatch(place.path)):
            comment = next(c for c in server.comments if c["id"] == int(match[1]))
            comment["body"] = content["body"]
            self._answer(200, comment)
        else:
            self._answer(404, {"message": "Not Found"})

    do_GET = do_POST = do_PATCH = _serve


@contextmanager
def comments_api() -> Iterator[CommentsApi]:
    """Run the server until the end of the block."""
    with CommentsApi() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

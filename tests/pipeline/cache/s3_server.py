"""A real S3 server on loopback, moto's, with a log of its requests."""

import contextlib
import http.client
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

BUCKET = "caches"
_SIGNED = (
    "AWS4-HMAC-SHA256 Credential=someone/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
)
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class S3Server:
    """moto's S3 server in a thread; every request goes through `on_request` and into `requests`."""

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self.requests: list[str] = []
        self.on_request: Callable[[str], None] = lambda _: None
        self._application: Application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=MotoRequestHandler
        )
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.reset()

    def reset(self) -> None:
        """Leave one empty bucket, and let everybody in."""
        self.on_request = lambda _: None
        self.ask_for_signatures(after=10**9)
        self.call("POST", "/moto-api/reset")
        self.call("PUT", f"/{BUCKET}")
        self.requests.clear()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        self.requests.append(request)
        self.on_request(request)
        return self._application(environ, start_response)

    def call(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Send one request with a signature at which this server does not look."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Authorization": _SIGNED})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status < 300, (method, path, answer.status, content)
            return content

    def names(self, prefix: str = "") -> list[str]:
        """Return the names in the bucket, as moto has them."""
        from moto.s3.models import s3_backends

        bucket = s3_backends["123456789012"]["aws"].buckets[BUCKET]
        return sorted(name for name in bucket.keys if name.startswith(prefix))

    def read(self, name: str) -> bytes:
        return self.call("GET", f"/{BUCKET}/{name}")

    def write(self, name: str, content: bytes) -> None:
        self.call("PUT", f"/{BUCKET}/{name}", content)

    def write_many(self, contents: dict[str, bytes]) -> None:
        """Write files without a request for each."""
        from moto.s3.models import s3_backends

        for name, content in contents.items():
            s3_backends["123456789012"]["aws"].put_object(BUCKET, name, content)

    def ask_for_signatures(self, *, after: int) -> None:
        """Look at credentials after so many more requests."""
        from moto import settings
        from moto.core.authorization import ActionAuthenticatorMixin

        settings.INITIAL_NO_AUTH_ACTION_COUNT = after
        ActionAuthenticatorMixin.request_count = 0

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

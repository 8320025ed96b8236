"""The HTTP server of a package answers as run.py does, and whatever is wrong as JSON."""

import ast
import contextlib
import http.client
import io
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnx
import pytest
from PIL import Image

from pipeline.gates.build_records import EngineManifest, EpContext
from pipeline.settings import Build
from stages import standalone
from stages.packaging import archive, contents, docker
from tests.stages.onnxgraph.graphs import classifier

MANIFEST = EngineManifest(
    backend="onnxruntime", backend_version="1.31.1", device="cpu", precision="fp32",
    engine="engine.onnx", sha256="a" * 64, onnx_sha256="b" * 64,
)  # fmt: skip


class Service(NamedTuple):
    """A running serve.py."""

    process: "subprocess.Popen[str]"
    port: int

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Return the status, the answer and the headers of a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(
                method, path, body, {k.replace("_", "-"): v for k, v in headers.items()}
            )
            response = connection.getresponse()
            content = response.read()
            return response.status, json.loads(content or b"null"), dict(response.headers)


def started(folder: Path, *arguments: str) -> Service:
    process = subprocess.Popen(
        [sys.executable, str(folder / "serve.py"), "--port", "0", *arguments],
        cwd=folder.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/classify\n", line)
    assert match, line + process.communicate()[1]
    return Service(process, int(match[1]))


def stopped(service: Service) -> tuple[int, str]:
    """Stop a service as Docker does; return its exit code and what it wrote to stderr."""
    service.process.send_signal(signal.SIGTERM)
    _, errors = service.process.communicate(timeout=20)
    return service.process.returncode, errors


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    onnx.save(classifier(), folder / "a.onnx")
    options = Build(backend="onnxruntime", device="cpu", precision="fp32")
    standalone.build(folder / "a.onnx", folder / "engine", options)
    _, files = contents.collect(folder / "engine", place="--engine", name=None, report=None)
    archive.write(files, folder / "package", overwrite=False)
    return folder / "package"


@pytest.fixture(scope="module")
def service(package: Path) -> Iterator[Service]:
    """A server that takes bodies of 20 000 bytes and images of 10 000 pixels."""
    service = started(package, "--max-bytes", "20000", "--max-pixels", "10000")
    yield service
    assert stopped(service) == (0, "")


def encoded(height: int = 20, width: int = 30, kind: str = "PNG", seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def test_many_at_once_get_the_class_that_run_py_names(
    package: Path, service: Service, tmp_path: Path
) -> None:
    images = [encoded(seed=seed, kind=kind) for kind in ("PNG", "JPEG") for seed in range(12)]
    paths = []
    for number, image in enumerate(images):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(image)
    done = subprocess.run(
        [sys.executable, "-I", str(package / "run.py"), *map(str, paths)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = [line.split("\t")[1:] for line in done.stdout.splitlines()]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda image: service.ask("POST", "/classify", image), images))
    assert [status for status, _, _ in answers] == [200] * len(images)
    named = [[answer["class"], f"{answer['probability']:.3f}"] for _, answer, _ in answers]
    assert named == expected
    top = answers[0][1]["top"]
    assert [entry["class"] for entry in top] != []
    assert sorted((entry["probability"] for entry in top), reverse=True) == [
        entry["probability"] for entry in top
    ]
    assert sum(entry["probability"] for entry in top) == pytest.approx(1, abs=1e-4)


def test_health_is_told_with_the_engine(package: Path, service: Service) -> None:
    manifest = json.loads((package / "manifest.json").read_text(encoding="utf-8"))
    status, answer, _ = service.ask("GET", "/healthz")
    assert (status, answer) == (200, {"status": "ok", "engine": manifest["sha256"]})


def _bomb() -> bytes:
    """Return a small PNG file that says to be 50 000 pixels wide and high."""
    whole = encoded()
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return whole[:16] + header + checksum + whole[33:]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "the body is empty"),
        (b"no image", 415, "is no image of BMP"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "is no image of BMP"),
        (encoded()[:200], 422, "no readable image"),
        (_bomb(), 413, "more than 10000 pixels"),
        (encoded(101, 100, "JPEG"), 413, "more than 10000 pixels"),
        (b"\x93NUMPY\x01\x00", 422, "no readable arrays"),
        (encoded(90, 90, "BMP"), 413, "takes at most 20000 bytes"),
    ],
)
def test_bodies_that_are_no_such_image_are_refused(
    service: Service, body: bytes, status: int, text: str
) -> None:
    seen, answer, headers = service.ask("POST", "/classify", body)
    assert (seen, headers["Content-Type"]) == (status, "application/json")
    assert text in answer["error"]
    assert service.ask("POST", "/classify", encoded())[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/classify", 405),
        ("PUT", "/classify", 405),
        ("HEAD", "/classify", 405),
        ("POST", "/healthz", 405),
        ("GET", "/", 404),
        ("GET", "/../manifest.json", 404),
        ("GET", "/manifest.json", 404),
        ("DELETE", "/run.py", 404),
    ],
)
def test_other_paths_and_methods_lead_nowhere(
    service: Service, method: str, path: str, status: int
) -> None:
    seen, answer, headers = service.ask(method, path)
    assert seen == status
    assert "Allow" in headers or status == 404
    assert method == "HEAD" or "error" in answer


def test_a_body_without_a_length_is_refused(service: Service) -> None:
    status, answer, _ = service.ask(
        "POST", "/classify", b"5\r\nhello\r\n0\r\n\r\n", Transfer_Encoding="chunked"
    )
    assert (status, answer) == (411, {"error": "Content-Length is missing"})
    status, answer, _ = service.ask("POST", "/classify", None, Content_Length="-1")
    assert status == 411
    status, answer, _ = service.ask("POST", "/classify", None, Content_Length="9" * 5000)
    assert (status, answer) == (413, {"error": "takes at most 20000 bytes"})


def test_a_malformed_request_gets_json_too(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), 20) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        received = connection.makefile("rb").read()
    assert received.startswith((b"HTTP/1.1 400", b"{"))
    assert b'"error"' in received


def test_connections_beyond_the_bound_are_told_to_come_again(package: Path) -> None:
    service = started(package, "--connections", "1")
    try:
        with socket.create_connection(("127.0.0.1", service.port), 20) as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert idle.recv(4096).startswith(b"HTTP/1.1 200")
            status, answer, headers = service.ask("GET", "/healthz")
            assert (status, answer, headers["Retry-After"]) == (
                503, {"error": "busy; try again"}, "1",
            )  # fmt: skip
    finally:
        assert stopped(service) == (0, "")


def accepts(port: int) -> bool:
    """Return whether a port takes a connection."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


def test_a_stop_lets_an_answer_under_way_end(package: Path) -> None:
    service = started(package)
    image = encoded()
    with socket.create_connection(("127.0.0.1", service.port), 20) as connection:
        head = f"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: {len(image)}\r\n\r\n"
        connection.sendall(head.encode() + image[:50])
        assert service.ask("GET", "/healthz")[0] == 200  # it accepts one after the other
        ended: list[tuple[int, str]] = []
        stopping = threading.Thread(target=lambda: ended.append(stopped(service)))
        stopping.start()
        while accepts(service.port):
            pass
        connection.sendall(image[50:])
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200")
        stopping.join(20)
    assert ended == [(0, "")]


@pytest.mark.parametrize(
    ("changes", "pins", "gpu"),
    [
        ({}, "onnxruntime==1.31.1", False),
        ({"device": "cuda"}, "onnxruntime-gpu[cuda,cudnn]==1.31.1", True),
        (
            {"device": "cuda-tensorrt"},
            "onnxruntime-gpu[cuda,cudnn]==1.31.1\ntensorrt-cu13>=10.13.2,<11",
            True,
        ),
        (
            {
                "device": "cuda-tensorrt-rtx",
                "ep_context": EpContext(provider="NvTensorRTRTXExecutionProvider", version="0.5.0"),
            },
            "onnxruntime-gpu[cuda,cudnn]==1.31.1\nonnxruntime-ep-nv-tensorrt-rtx==0.5.0",
            True,
        ),
        ({"backend": "openvino", "backend_version": "2026.4.1"}, "openvino==2026.4.1", False),
        (
            {
                "backend": "tensorrt",
                "device": "cuda",
                "backend_version": "11.4",
                "engine": "e.plan",
            },
            "tensorrt-cu13==11.4\ncuda-python>=13,<14",
            True,
        ),
        (
            {"backend": "tensorrt-rtx", "device": "cuda", "backend_version": "1.7"},
            "tensorrt-rtx==1.7\ncuda-python>=13,<14",
            True,
        ),
    ],
)
def test_requirements_and_dockerfile_are_of_the_engines_backend(
    changes: dict[str, Any], pins: str, *, gpu: bool
) -> None:
    manifest = msgspec.structs.replace(MANIFEST, **changes)
    lines = docker.requirements(manifest)
    assert lines.startswith(f"numpy=={np.__version__}\npillow==")
    assert lines.endswith(f"\n{pins}\n")
    text = docker.dockerfile(manifest)
    assert ("NVIDIA_VISIBLE_DEVICES" in text) == gpu
    assert json.dumps(manifest.engine) in text


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, comments left out and broken lines joined."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def test_the_dockerfile_copies_what_is_there_and_runs_what_works(package: Path) -> None:
    steps = instructions((package / "Dockerfile").read_text(encoding="utf-8"))
    assert [name for name, _ in steps] == [
        "ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "COPY", "USER", "EXPOSE", "HEALTHCHECK",
        "CMD",
    ]  # fmt: skip
    copied = {
        source
        for name, rest in steps
        if name == "COPY"
        for source in (json.loads(rest) if rest.startswith("[") else rest.split())[:-1]
    }
    assert all((package / source).is_file() for source in copied)
    assert copied == {
        "requirements.txt", "engine.onnx", "manifest.json", "labels.txt", "run.py", "serve.py",
    }  # fmt: skip
    values = dict(steps)
    assert not values["USER"].startswith(("root", "0"))
    program, script, *arguments = json.loads(values["CMD"])
    assert [program, script] == ["python", "serve.py"]
    assert arguments == ["--host", "0.0.0.0", "--port", str(docker.PORT)]  # noqa: S104
    service = started(package)
    try:
        health = json.loads(values["HEALTHCHECK"].partition("CMD ")[2])
        assert health[:2] == ["python", "-c"]
        code = health[2].replace(f":{docker.PORT}/", f":{service.port}/")
        assert code != health[2]
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    finally:
        assert stopped(service) == (0, "")
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 1


def test_the_server_is_python_of_the_standard_library_beside_what_run_py_needs() -> None:
    tree = ast.parse(docker.files(MANIFEST)["serve.py"])
    modules = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
        )
    }
    assert modules - set(sys.stdlib_module_names) == {"numpy", "PIL", "run"}


@pytest.mark.parametrize("words", [("--port", "99999"), ("--host", "no.such.host.invalid")])
def test_a_place_where_it_cannot_listen_is_one_line(package: Path, words: tuple[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, str(package / "serve.py"), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cannot listen on ")
    assert done.stderr.count("\n") == 1

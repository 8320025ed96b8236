"""A hub on this machine: a loopback server with what huggingface_hub and torch.hub ask for.

And caches as both leave them, made without a network.
"""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG: Mapping[str, Any] = {
    "architecture": "test_resnet",
    "num_classes": 4,
    "num_features": 96,
    "label_names": ["ant", "bee", "cat", "dog"],
    "pretrained_cfg": {
        "tag": "own",
        "input_size": [3, 32, 32],
        "interpolation": "bilinear",
        "crop_pct": 0.8,
        "crop_mode": "center",
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.25, 0.3],
        "first_conv": "conv1.0",
        "classifier": "fc",
    },
}
"""As timm's `push_to_hf_hub` writes it, of a network for 32 pixels and four classes."""


def config(**changes: Any) -> bytes:
    """Return `config.json`, with other values; None leaves one out."""
    fields = {name: value for name, value in {**CONFIG, **changes}.items() if value is not None}
    return json.dumps(fields).encode()


def timm_weights(num_classes: int = 4, architecture: str = "test_resnet") -> bytes:
    """Return random weights of a network of timm as safetensors."""
    import safetensors.torch
    import timm
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(architecture, num_classes=num_classes)
    return safetensors.torch.save(network.state_dict())


def transformers_repository(kind: str) -> dict[str, bytes]:
    """Return the files of a small random classifier of transformers, "vit" or "resnet"."""
    import torch
    import transformers

    labels = dict(enumerate(("ant", "bee", "cat", "dog")))
    sizes: dict[str, Any] = {
        "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1],
                   "layer_type": "basic"},
        "vit": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "intermediate_size": 32, "image_size": 32, "patch_size": 8},
    }  # fmt: skip
    chosen = transformers.AutoConfig.for_model(kind, **sizes[kind], id2label=labels)
    classifiers: Any = transformers.AutoModelForImageClassification
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = classifiers.from_config(chosen)
        network.save_pretrained(folder)
        images = transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.8)
        images.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def cache_repository(
    home: Path, repo: str, files: Mapping[str, bytes], *, commit: str = COMMIT, branch: str = "main"
) -> Path:
    """Leave files in `home`, which is `$HF_HOME`, as huggingface_hub does; return the snapshot."""
    folder = home / "hub" / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    for part in (folder / "refs", folder / "blobs", snapshot):
        part.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / branch).write_text(commit, encoding="utf-8")
    for name, content in files.items():
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / name).unlink(missing_ok=True)
        (snapshot / name).symlink_to(Path("..") / ".." / "blobs" / blob.name)
    return snapshot


@dataclass
class LocalHub:
    """What the server has, and what was asked of it."""

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """OWNER/REPO -> name of a file -> its bytes, all at the commit above."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Path -> bytes, for torch.hub."""
    cut_bytes: int | None = None
    """After so many the server hangs up, in the middle of a file."""
    requests: list[str] = field(default_factory=list)
    """Method and path of each request."""

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return status, error code and bytes for a path."""
        if path in self.files:
            return 200, "", self.files[path]
        repo, _, rest = path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if repo not in self.repositories:
            return 404, "RepoNotFound", b""
        if revision not in {"main", COMMIT}:
            return 404, "RevisionNotFound", b""
        if name not in self.repositories[repo]:
            return 404, "EntryNotFound", b""
        return 200, "", self.repositories[repo][name]


def _handler(hub: LocalHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _send(self, *, has_body: bool) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            status, code, content = hub.answer(self.path)
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
                self.send_header("X-Error-Message", code)
            else:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if has_body and hub.cut_bytes is not None:
                self.wfile.write(content[: hub.cut_bytes])
                self.close_connection = True
            elif has_body:
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self._send(has_body=False)

        def do_GET(self) -> None:
            self._send(has_body=True)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep the output of the tests clean."""

    return Handler


@contextmanager
def served() -> Iterator[LocalHub]:
    """Serve a hub on a free port of this machine."""
    hub = LocalHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def closed_url() -> str:
    """Return the address of a port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"

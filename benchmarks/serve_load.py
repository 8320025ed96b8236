"""Measures packages' HTTP servers under load on loopback; prints Markdown with hardware and n.

    uv run python benchmarks/serve_load.py [--seconds 10]
    uv run python benchmarks/serve_load.py --package PACKAGE --image IMAGE

Without a package it makes two, of networks with random weights in fp32: a ResNet-20 for 32 pixels
that gets a PNG file of that size, and torchvision's ResNet-18 for 224 that gets a JPEG photo of
500 x 375. serve.py runs in a process of its own, with its own defaults. The load comes from
`--processes` processes, over connections that stay open, each of which sends the next request when
it has the answer (a closed loop). The first second is not counted. Latencies are of all requests,
so p99 at n below 1000 says little. Every answer must be 200 and of one class.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline import machine

ROOT = Path(__file__).parent.parent
_WARMUP_S = 1.0


class Load(NamedTuple):
    """What one process of the load generator does."""

    port: int
    image: bytes
    connections: int
    seconds: float


def connection_loop(load: Load, until_s: float, latencies_ms: list[float]) -> None:
    """Send an image again and again over one connection, and note how long the answers take."""
    connection = http.client.HTTPConnection("127.0.0.1", load.port, timeout=30)
    counted_from_s = until_s - load.seconds
    answers = set()
    while (begin_s := time.perf_counter()) < until_s:
        connection.request("POST", "/classify", load.image)
        response = connection.getresponse()
        answers.add((response.status, json.loads(response.read())["class"]))
        if begin_s >= counted_from_s:
            latencies_ms.append((time.perf_counter() - begin_s) * 1000)
    connection.close()
    if len(answers) != 1 or next(iter(answers))[0] != http.HTTPStatus.OK:
        message = f"other answers than one class: {answers}"
        raise SystemExit(message)


def generate(load: Load) -> list[float]:
    """Return the latencies of one process's connections, in ms."""
    latencies_ms: list[float] = []
    until_s = time.perf_counter() + _WARMUP_S + load.seconds
    threads = [
        threading.Thread(target=connection_loop, args=(load, until_s, latencies_ms))
        for _ in range(load.connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies_ms


def measure(port: int, image: bytes, connections: int, processes: int, seconds: float) -> str:
    """Return a row of the table."""
    processes = min(processes, connections)
    shares = [len(part) for part in np.array_split(np.arange(connections), processes)]
    loads = [Load(port, image, share, seconds) for share in shares]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        latencies_ms = np.concatenate([np.array(part) for part in pool.map(generate, loads)])
    p50_ms, p99_ms = np.percentile(latencies_ms, (50, 99))
    rate = len(latencies_ms) / seconds
    cells = (connections, processes, len(latencies_ms), f"{rate:.0f}", f"{p50_ms:.2f}")
    return f"| {' | '.join(map(str, cells))} | {p99_ms:.2f} |"


def make(folder: Path) -> list[tuple[Path, Path]]:
    """Return the packages of two networks, and an image for each."""
    import torch  # noqa: PLC0415  (only what makes packages needs it)
    import torchvision  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    from models.resnet import CifarResNet  # noqa: PLC0415

    torch.manual_seed(0)
    networks = {
        "resnet20": CifarResNet(depth=20, width=16, in_channels=3, num_classes=10),
        "resnet18": torchvision.models.resnet18(),
    }
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "resnet20.png")
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    coarse.resize((500, 375), Image.Resampling.BICUBIC).save(folder / "resnet18.jpg", quality=90)
    for name, network in networks.items():
        weights, onnx, engine = (folder / f"{name}{end}" for end in (".pt", ".onnx", "-engine"))
        torch.save(network.state_dict(), weights)
        for arguments in (
            ["export", "--student", weights, "--out", onnx],
            ["build", "--onnx", onnx, "--precision", "fp32", "--device", "cpu", "--out", engine],
            ["package", "--engine", engine, "--out", folder / name],
        ):
            subprocess.run(
                [str(Path(sys.executable).with_name("madpipe")), *map(str, arguments)],
                cwd=folder, check=True, capture_output=True,
            )  # fmt: skip
    ends = {"resnet20": ".png", "resnet18": ".jpg"}
    return [(folder / name, folder / f"{name}{end}") for name, end in ends.items()]


def load_server(package: Path, image: Path, options: argparse.Namespace) -> None:
    """Start a package's server, load it, and print the figures."""
    manifest = json.loads((package / "manifest.json").read_text(encoding="utf-8"))
    body = image.read_bytes()
    network = manifest["signature"]["arch"] or package.name
    print(
        f"\n{network}, {manifest['backend']}, {manifest['precision']}; {image.name} of {len(body)} "
        f"bytes; load {os.getloadavg()[0]:.1f} at the start\n"
    )
    print("| connections | processes | n | requests/s | p50 ms | p99 ms |")
    print("| --- " * 6 + "|")
    command = [sys.executable, str(package / "serve.py"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        match = re.search(r":(\d+)/", server.stdout.readline())
        assert match is not None
        for connections in options.connections:
            row = measure(int(match[1]), body, connections, options.processes, options.seconds)
            print(row, flush=True)
        server.send_signal(signal.SIGTERM)


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--package", type=Path, help="a folder that madpipe package wrote")
    parser.add_argument("--image", type=Path, help="what is sent to it")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--processes", type=int, default=2, help="of the load generator")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    if (options.package is None) != (options.image is None):
        parser.error("give --package and --image, or neither")
    facts = machine.environment(ROOT)
    names = ("cpu", "cores", "python", "onnxruntime-gpu", "git")
    print(", ".join(f"{name} {facts[name]}" for name in names if name in facts))
    with tempfile.TemporaryDirectory() as scratch:
        chosen = [(options.package, options.image)]
        for package, image in chosen if options.package else make(Path(scratch)):
            load_server(package, image, options)


if __name__ == "__main__":
    main()

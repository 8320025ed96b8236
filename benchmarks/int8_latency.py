"""What int8 gains with weights of 8 and of 7 bits, with VNNI and with AVX2 alone, as a table.

    python benchmarks/int8_latency.py --onnx lite0.onnx --onnx r18.onnx --calibration FOLDER

A ResNet-18 and a MobileNetV2 of torchvision with random weights are measured in any case, at 224
pixels, which says nothing of their agreement. A process with the processor as it is and one under
`hide_avx512.py` time all engines of a network in turns (one image, one thread). About 4 minutes on
two idle cores, and 3 more at the first call, which prepares the folder of `hide_avx512.py`.

Shape legend: N images, B batch, C channel, H W space, K classes.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import onnx

from models import registry
from models.classifier import Classifier
from pipeline import machine
from pipeline.settings import Build
from stages.build import stage
from stages.engines import selection, timing
from stages.engines.base import BACKENDS
from stages.image_bank import Images
from stages.networks.card import Card
from stages.networks.predict import predict
from stages.onnxgraph import calibration_images, convert, torch_export
from stages.onnxgraph.convert import PrecisionConverter

RANDOM = ("resnet18", "mobilenet_v2")
BACKEND_NAMES = ("onnxruntime", "openvino")
VARIANTS = ("fp32", "int8, 8 bits", "int8, 7 bits")
"""Depthwise layers have 8 bits in all of them, as in the product."""
SIZE_PX = 224
HERE = Path(__file__)
IMAGES_FILE, GRAPHS_FILE = "images.npy", "graphs.json"


def random_network(name: str, path: Path) -> None:
    """Write a network of torchvision with random weights."""
    backbone = registry.create(f"torchvision:{name}", in_channels=3, num_classes=1000, code=None)
    card = Card(
        arch=f"torchvision:{name}", channels=3, image_size_px=SIZE_PX,
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
        classes=tuple(map(str, range(1000))),
    )  # fmt: skip
    network = Classifier(backbone, card.mean, card.std).eval()
    onnx.save(torch_export.from_torch(network, card, opset=BACKENDS["onnxruntime"].opset), path)


def graphs(path: Path, folder: Path, calibration: Path | None, count: int) -> dict[str, str]:
    """Write a network in all variants, and the images that ranges come from."""
    folder.mkdir()
    source = stage.read(path, Build(precision="int8", device="cpu"))
    shape = tuple(dim.dim_value for dim in source.model.graph.input[0].type.tensor_type.shape.dim)
    images_NCHW: Images = np.random.default_rng(0).random((count, *shape[1:]), dtype=np.float32)
    if calibration is not None:
        images_NCHW = calibration_images.load(calibration, source.model, "--calibration")[:count]
    np.save(folder / IMAGES_FILE, np.asarray(images_NCHW))
    converter = PrecisionConverter(source.model, images_NCHW, Build())
    paths: dict[str, str] = {}
    for variant in VARIANTS:
        is_reduced = "7" in variant
        with mock.patch.object(convert, "int8_products_saturate", lambda r=is_reduced: r):
            converted = converter.convert(variant[:4], BACKENDS["openvino"])
        paths[variant] = str(folder / f"{len(paths)}.onnx")
        onnx.save(converted.model, paths[variant])
    return paths


def timed(folder: Path, budget_s: float, threads: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each engine of each network in a folder, in this process."""
    for network, paths in json.loads((folder / GRAPHS_FILE).read_text("utf-8")).items():
        images_NCHW = np.load(folder / network / IMAGES_FILE)
        names = [(backend, variant) for backend in BACKEND_NAMES for variant in paths]
        sessions = [
            selection.backend(backend).open(Path(paths[variant]), device="cpu", threads=threads)
            for backend, variant in names
        ]
        classes = [predict(s.infer, images_NCHW).argmax(axis=1) for s in sessions]
        calls = [session.prepared(images_NCHW[:1]) for session in sessions]
        timing.interleaved(calls, budget_s=budget_s / 10)
        times_ms = timing.interleaved(calls, budget_s=budget_s, fewest=5)
        for column, (backend, variant) in enumerate(names):
            low_ms, p50_ms, high_ms = np.percentile(times_ms[:, column], (10, 50, 90))
            yield {
                "network": network, "backend": backend, "variant": variant, "p50_ms": p50_ms,
                "low_ms": low_ms, "high_ms": high_ms, "n": len(times_ms),
                "agreement": float((classes[column] == classes[0]).mean()),
            }  # fmt: skip


def measure(folder: Path, hidden: Path | None, arguments: argparse.Namespace) -> list[Any]:
    """Return the rows of a process of its own, with AVX2 alone where `hidden` is a folder."""
    command = [sys.executable, str(HERE), "--time", str(folder)]
    command += ["--budget-s", str(arguments.budget_s), "--threads", str(arguments.threads)]
    if hidden is not None:
        hide = str(HERE.with_name("hide_avx512.py"))
        command = [sys.executable, hide, "--folder", str(hidden), "--", *command]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)}: exit {result.returncode}\n{result.stderr}")
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def table(rows: dict[str, list[Any]], random: set[str]) -> Iterator[str]:
    """Yield the lines of the Markdown table."""
    machines = list(rows)
    heads = [f"{backend}, {name}" for name in machines for backend in BACKEND_NAMES]
    yield "| network | arithmetic | " + " | ".join(heads) + " |"
    yield "| --- | --- |" + " --- |" * len(heads)
    cells = {(m, r["network"], r["backend"], r["variant"]): r for m in machines for r in rows[m]}
    for network in dict.fromkeys(row["network"] for row in rows[machines[0]]):
        for variant in VARIANTS:
            line = [network, variant]
            for name in machines:
                for backend in BACKEND_NAMES:
                    row = cells[name, network, backend, variant]
                    gain = cells[name, network, backend, "fp32"]["p50_ms"] / row["p50_ms"]
                    text = f"{row['p50_ms']:.2f} ({row['low_ms']:.2f} to {row['high_ms']:.2f})"
                    text += f", {gain:.2f} x" if variant != "fp32" else ""
                    agrees = "" if network in random else f", agrees {row['agreement']:.3f}"
                    line.append(text + agrees)
            yield "| " + " | ".join(line) + " |"


def main() -> None:
    """Print the table, or the rows of one process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--onnx", type=Path, action="append", default=[])
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--budget-s", type=float, default=15.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(".madpipe-avx2"))
    parser.add_argument("--time", type=Path)
    arguments = parser.parse_args()
    if arguments.time is not None:
        for row in timed(arguments.time, arguments.budget_s, arguments.threads):
            print(json.dumps(row), flush=True)
        return
    begin_s = time.perf_counter()
    with TemporaryDirectory(prefix="madpipe-") as name:
        folder, written = Path(name), dict[str, dict[str, str]]()
        for arch in RANDOM:
            random_network(arch, folder / f"{arch}.onnx")
            path = folder / f"{arch}.onnx"
            written[arch] = graphs(path, folder / arch, None, arguments.images)
        for path in arguments.onnx:
            written[path.stem] = graphs(
                path, folder / path.stem, arguments.calibration, arguments.images
            )
        (folder / GRAPHS_FILE).write_text(json.dumps(written), encoding="utf-8")
        rows = {
            "as it is": measure(folder, None, arguments),
            "AVX2": measure(folder, arguments.folder, arguments),
        }
    versions = ", ".join(f"{name} {machine.version(name)}" for name in ("openvino",))
    features = " ".join(sorted(machine.cpu_features()))
    print(
        f"{machine.cpu_model()} ({features}), {arguments.threads} thread, ONNX Runtime "
        f"{machine.version('onnxruntime-gpu|onnxruntime')}, {versions}; milliseconds of one image, "
        "median (10th to 90th percentile) and gain over fp32 of the same backend; agreement with "
        f"fp32 in ONNX Runtime on {arguments.images} images\n"
    )
    print("\n".join(table(rows, set(RANDOM))))
    counts = {m: {row["network"]: row["n"] for row in rows[m]} for m in rows}
    print(f"\nRepetitions in turns: {counts}; {time.perf_counter() - begin_s:.0f} s in all.")


if __name__ == "__main__":
    main()

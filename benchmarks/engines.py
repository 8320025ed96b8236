"""Latency of engines against each other, and what int8 costs; prints Markdown.

    uv run python benchmarks/engines.py latency [--rounds 300] [--quick]
    uv run python benchmarks/engines.py accuracy WORK [--images 256]

`latency`: a CIFAR ResNet-34 teacher and a ResNet-18 student with random weights, one thread, batch
1 and 32, every engine in turns within one run; torch.compile only without --quick.
`accuracy`: top-1 of the student in a madpipe working folder: fp32, int8 calibrated by its bank,
and int8 calibrated by as many real training images, for each method of calibration.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import nn

from models import registry
from models.classifier import Classifier
from pipeline import hostinfo, machine
from pipeline.settings import Build, Data, Export
from stages import bank, candidates, export, networks, onnxfile, timing
from stages.card import Card
from stages.data import images
from stages.engines import resolve
from stages.engines.base import BACKENDS, Order
from stages.precision.graph import Maker
from stages.precision.ranges import METHODS

Call = Callable[[], object]
CARD = Card(
    arch="resnet18",
    channels=3,
    image_size_px=32,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    classes=tuple(str(number) for number in range(10)),
)


def heading(title: str) -> None:
    """Print what was measured where."""
    facts = hostinfo.environment(Path(__file__).parent.parent)
    names = ("cpu", "cores", "python", "torch", "onnxruntime-gpu", "git")
    shown = [f"{name} {facts[name]}" for name in names if name in facts]
    shown.append(f"openvino {machine.version('openvino')}")
    print(f"## {title}\n\n{', '.join(shown)}\n")


def cifar_resnet(depth: int) -> Classifier:
    """Return a ResNet-18 or -34 with a stem for 32x32 images, its batch norms not trivial."""
    name = f"resnet{depth}"
    torch.manual_seed(depth)
    if name in registry.ARCHITECTURES:
        backbone = networks.build(CARD, code=None, place=name).backbone
    else:
        from torchvision.models import resnet  # noqa: PLC0415  (until the registry has it)

        counts = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}[depth]
        made = resnet.ResNet(resnet.BasicBlock, counts, num_classes=10)
        made.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        made.maxpool = nn.Identity()
        backbone = made
    network = Classifier(backbone, CARD.mean, CARD.std).train()
    with torch.no_grad():
        network(torch.rand(64, 3, 32, 32))
    return network.eval()


def eager(network: nn.Module, x_BCHW: torch.Tensor) -> Call:
    """Return a call of a torch network."""

    @torch.inference_mode()
    def call() -> None:
        network(x_BCHW)

    return call


def compiled(network: nn.Module, x_BCHW: torch.Tensor, kind: torch.dtype) -> Call:
    """Return a call of a network that torch.compile froze, in a type."""
    import torch._inductor.config as inductor  # noqa: PLC0415

    inductor.freezing = True
    made = torch.compile(network)

    def call() -> None:
        with torch.inference_mode(), torch.autocast("cpu", kind, enabled=kind != torch.float32):
            made(x_BCHW)

    call()
    return call


def engines(network: Classifier, folder: Path, x_BCHW: NDArray[np.float32]) -> dict[str, Call]:
    """Return a call of a network in each backend at each precision that is here."""
    source = folder / "fp32.onnx"
    generator = np.random.default_rng(0)
    calibration_NCHW = generator.random((64, 3, 32, 32), dtype=np.float32)
    export.export(
        network,
        CARD,
        source,
        options=Export(min_agreement=0.9),
        opset=22,
        images_NCHW=calibration_NCHW,
        student_sha256="",
    )
    maker = Maker(onnxfile.read(source, "here"), calibration_NCHW, Build())
    calls: dict[str, Call] = {}
    for name, precision in resolve.candidates(Build(), "cpu"):
        stem = folder / f"{name}-{precision}"
        onnxfile.save(maker.at(precision, BACKENDS[name]).model, stem.with_suffix(".onnx"))
        order = Order(
            onnx=stem.with_suffix(".onnx"), engine=stem, device="cpu", precision=precision
        )
        backend = resolve.backend(name)
        backend.build(order)
        calls[f"{name} {precision}"] = backend.open(stem, device="cpu", threads=1).prepared(x_BCHW)
    return calls


def latency(rounds: int, *, quick: bool) -> None:
    """Measure everything in turns at batch 1 and 32."""
    torch.set_num_threads(1)
    heading("Engines: CIFAR ResNet-34 teacher, ResNet-18 student, one thread")
    teacher, student = cifar_resnet(34), cifar_resnet(18)
    for batch in (1, 32):
        x_BCHW = torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        calls: dict[str, Call] = {"R34 torch eager fp32": eager(teacher, x_BCHW)}
        calls["R18 torch eager fp32"] = eager(student, x_BCHW)
        with tempfile.TemporaryDirectory() as folder:
            for short, network in (("R34", teacher), ("R18", student)):
                inner = Path(folder) / short
                inner.mkdir()
                found = engines(network, inner, x_BCHW.numpy())
                calls |= {f"{short} {name}": call for name, call in found.items()}
            if not quick:
                for kind in (torch.float32, torch.bfloat16):
                    name = f"R18 torch.compile, frozen, {str(kind).removeprefix('torch.')}"
                    calls[name] = compiled(student, x_BCHW, kind)
            # As many rounds at any batch: time is no limit here.
            times_ms = timing.in_turns(list(calls.values()), budget_s=1e9, most=rounds)
        table(batch, list(calls), times_ms)


def table(batch: int, names: list[str], times_ms: NDArray[np.float64]) -> None:
    """Print medians, the ratio to the eager teacher round by round, and to the fastest R18."""
    medians = np.median(times_ms, axis=0)
    ratios = np.median(times_ms[:, :1] / times_ms, axis=0)
    best = min(m for name, m in zip(names, medians, strict=True) if name.startswith("R18"))
    print(f"Batch {batch}, {len(times_ms)} rounds, all in turns.\n")
    print("| engine | median ms | eager teacher over it | fastest student over it |")
    print("| --- | ---: | ---: | ---: |")
    for name, median, ratio in zip(names, medians, ratios, strict=True):
        print(f"| {name} | {median:.3f} | {ratio:.2f} | {best / median:.2f} |")
    print(flush=True)


def accuracy(work: Path, count: int) -> None:
    """Compare calibrations by top-1 on the held-out digits, for every student in a folder."""
    heading("int8: calibrated by the bank, and by real images")
    dataset = images.load(Data(), None)
    cpu = torch.device("cpu")
    x_NCHW = dataset.held_out.batch(slice(0, None), cpu).contiguous().numpy()
    real_NCHW = dataset.train.batch(slice(0, count), cpu).contiguous().numpy()
    y_N = dataset.held_out.y_N.numpy()
    print(f"n = {len(y_N)} held-out images, {count} images for each calibration.\n")
    print("| student | scheme | method | images | top-1 | lost | gained |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: |")
    files = sorted((work / "entries" / "distill").glob("*/student.safetensors"))
    for folder in (each.parent for each in files):
        network, card = networks.load(folder / "student.safetensors", code=None, place="student")
        model = onnxfile.convert(network, card, opset=22)
        right_N = hits(model, x_NCHW, y_N)
        print(f"| {folder.name[:8]} | fp32 | | | {right_N.mean():.4f} | | |")
        bank_NCHW = bank.load(folder / "bank.npz", "the bank")
        for backend in ("onnxruntime", "tensorrt"):
            for method in ("minmax", "percentile", "entropy"):
                assert method in METHODS
                for name, calibration_NCHW in (("bank", bank_NCHW), ("real", real_NCHW)):
                    options = Build(calibration_method=method, calibration_images=count)
                    maker = Maker(model, calibration_NCHW, options)
                    made = maker.at("int8", BACKENDS[backend]).model
                    now_N = hits(made, x_NCHW, y_N)
                    lost, gained = (right_N & ~now_N).sum(), (~right_N & now_N).sum()
                    print(
                        f"| {folder.name[:8]} | {BACKENDS[backend].scheme} | {method} | {name} "
                        f"| {now_N.mean():.4f} | {lost} | {gained} |",
                        flush=True,
                    )


def hits(
    model: ModelProto, x_NCHW: NDArray[np.float32], y_N: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which images, of N, a model gives their class."""
    opened = onnxfile.session(model.SerializeToString())
    found: NDArray[np.bool_] = (
        candidates.classes(lambda x: onnxfile.logits(opened, x), x_NCHW) == y_N
    )
    return found


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("latency")
    one.add_argument("--rounds", type=int, default=300)
    one.add_argument("--quick", action="store_true", help="few rounds, no torch.compile")
    other = verbs.add_parser("accuracy")
    other.add_argument("work", type=Path, help="a .madpipe folder with distilled students")
    other.add_argument("--images", type=int, default=256)
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if chosen.verb == "accuracy":
        accuracy(chosen.work, chosen.images)
    else:
        latency(20 if chosen.quick else chosen.rounds, quick=chosen.quick)


if __name__ == "__main__":
    main()

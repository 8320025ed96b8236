"""Latency of engines against each other, and what int8 costs; prints Markdown.

    uv run python -m benchmarks.engines latency [--repetitions 300] [--quick]
    uv run python -m benchmarks.engines latency --device cuda --batch 1 --batch 32 --batch 256
    uv run python -m benchmarks.engines auto WORK
    uv run python -m benchmarks.engines accuracy WORK [--data digits] [--images 256]

`latency`: a CIFAR ResNet-34 teacher and a ResNet-18 student with random weights, one thread, batch
1 and 32, every engine in turns within one run; torch.compile only without --quick. Times are the
host's around calls that return when their result is there, in torch and in engines, on a CPU and
on a GPU, where images and logits lie; fp32 there is each library's default, which may be TF32. A
backend that does not run here is named, with its reason, and left out.
`auto`: for every student in a madpipe working folder, what `precision = "auto"` picks, and whether
a longer measurement of all candidates agrees.
`accuracy`: top-1 of these students: fp32, int8 calibrated by their bank, and int8 calibrated by as
many real training images, for each method of calibration.
"""

import argparse
import copy
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import nn

from models.classifier import Classifier
from pipeline import machine
from pipeline.settings import Build, Data, Export
from stages import image_bank
from stages.build import autotune
from stages.data import images
from stages.data.images import Dataset
from stages.engines import ort, selection, timing
from stages.engines.base import BACKENDS, BuildRequest
from stages.export import stage as export_stage
from stages.networks import factory
from stages.networks.card import Card
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph import torch_export
from stages.onnxgraph.calibrate import METHODS
from stages.onnxgraph.convert import PrecisionConverter

Call = Callable[[], object]
Network = Callable[[torch.Tensor], object]
CARD = Card(
    arch="resnet18",
    channels=3,
    image_size_px=32,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    classes=tuple(str(number) for number in range(10)),
)
AGAIN_ROUNDS = 1000


def heading(title: str) -> None:
    """Print what was measured where."""
    facts = machine.environment(Path(__file__).parent.parent)
    names = ("gpu0", "cpu", "cores", "python", "torch", "onnxruntime-gpu", "onnxruntime", "git")
    facts_here = [f"{name} {facts[name]}" for name in names if name in facts]
    facts_here += [
        " ".join(machine.installed(info.distribution))
        for info in BACKENDS.values()
        if info.needs != "onnxruntime" and machine.has_module(info.needs)
    ]
    print(f"## {title}\n\n{', '.join(facts_here)}\n")


def cifar_resnet(depth: int) -> Classifier:
    """Return a ResNet-18 or -34 with a stem for 32x32 images, its batch norms not trivial."""
    torch.manual_seed(depth)
    card = msgspec.structs.replace(CARD, arch=f"resnet{depth}")
    network = factory.build(card, code=None, place=card.arch).train()
    with torch.no_grad():
        network(torch.rand(64, 3, 32, 32))
    return network.eval()


def eager(network: Network, x_BCHW: torch.Tensor) -> Call:
    """Return a call of a torch network that returns when its result is there."""

    def call() -> None:
        with torch.inference_mode():
            network(x_BCHW)
        if x_BCHW.is_cuda:
            torch.cuda.current_stream().synchronize()

    return call


def compiled(network: nn.Module, x_BCHW: torch.Tensor) -> Call:
    """Return a call of a network that torch.compile froze; on a GPU it replays a CUDA graph."""
    import torch._inductor.config as inductor  # noqa: PLC0415

    inductor.freezing = True
    mode = "reduce-overhead" if x_BCHW.is_cuda else None
    call = eager(torch.compile(network, mode=mode, dynamic=False), x_BCHW)
    call()
    return call


def engines(
    network: Classifier, folder: Path, x_BCHW: NDArray[np.float32], device: str
) -> dict[str, Call]:
    """Return a call of a network in each backend at each precision that runs here."""
    source = folder / "fp32.onnx"
    generator = np.random.default_rng(0)
    calibration_NCHW = generator.random((64, 3, 32, 32), dtype=np.float32)
    export_stage.export(
        network,
        CARD,
        source,
        options=Export(min_agreement=0.9),
        opset=BACKENDS["onnxruntime"].opset,
        images_NCHW=calibration_NCHW,
        student_sha256="",
    )
    converter = PrecisionConverter(onnx_io.read(source, "here"), calibration_NCHW, Build())
    calls: dict[str, Call] = {}
    for name, precision in selection.candidates(Build(), device):
        stem = folder / f"{name}-{precision}"
        request = BuildRequest(
            onnx=stem.with_suffix(".onnx"), engine=stem, device=device, precision=precision
        )
        try:
            onnx_io.save(converter.convert(precision, BACKENDS[name]).model, request.onnx)
            backend = selection.backend(name)
            backend.build(request)
            call = backend.open(stem, device=device, threads=1).prepared(x_BCHW)
            call()
        except Exception as error:  # noqa: BLE001  (the others are measured all the same)
            print(f"Not measured: {name} {precision}, {type(error).__name__}: {error}\n")
        else:
            calls[f"{name} {precision}"] = call
    return calls


def torch_calls(
    teacher: nn.Module, student: nn.Module, x_BCHW: torch.Tensor, *, quick: bool
) -> dict[str, Call]:
    """Return calls of both networks in torch; the eager teacher in fp32 is the first."""
    # Each compilation takes half a minute.
    wanted = {("R18", "fp32"), ("R18", "bf16")}
    if x_BCHW.is_cuda:
        wanted = {("R34", "bf16"), ("R18", "bf16")}
    calls: dict[str, Call] = {}
    for kind, dtype in {"fp32": torch.float32, "bf16": torch.bfloat16}.items():
        x = x_BCHW.to(dtype)
        for short, network in {"R34": teacher, "R18": student}.items():
            # A cast at each call, as autocast makes, is no part of inference.
            cast = copy.deepcopy(network).to(x.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            calls[f"{short} torch eager {kind}"] = eager(cast, x)
            if not quick and (short, kind) in wanted:
                name = f"{short} torch.compile, frozen, {kind}"
                try:
                    calls[name] = compiled(cast, x)
                except Exception as error:  # noqa: BLE001  (the others are measured all the same)
                    print(f"Not measured: {name}, {type(error).__name__}: {error}\n")
    return calls


def latency(device: str, batches: Sequence[int], repetitions: int, *, quick: bool) -> None:
    """Measure everything in turns at each batch size."""
    torch.set_num_threads(1)
    heading(f"Engines: CIFAR ResNet-34 teacher, ResNet-18 student, {device}, one thread")
    teacher, student = cifar_resnet(34), cifar_resnet(18)
    for batch in batches:
        x_BCHW = torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        with tempfile.TemporaryDirectory() as folder:
            engine_calls: dict[str, Call] = {}
            for short, network in (("R34", teacher), ("R18", student)):
                inner = Path(folder) / short
                inner.mkdir()
                by_engine = engines(network, inner, x_BCHW.numpy(), device)
                engine_calls |= {f"{short} {name}": call for name, call in by_engine.items()}
            x_on_device = x_BCHW.to(device).to(memory_format=torch.channels_last)
            # What was compiled for other batches would make the size of a batch dynamic.
            torch._dynamo.reset()
            calls = torch_calls(teacher, student, x_on_device, quick=quick) | engine_calls
            # As many repetitions at any batch: time is no limit here.
            times_ms = _in_turns(list(calls.values()), repetitions)
        table(batch, list(calls), times_ms)


def _in_turns(calls: Sequence[Call], repetitions: int) -> NDArray[np.float64]:
    """Return milliseconds of shape (repetitions, calls), after a warm-up of 0.2 s."""
    timing.interleaved(calls, budget_s=0.2)
    return timing.interleaved(calls, repetitions)


def table(batch: int, names: list[str], times_ms: NDArray[np.float64]) -> None:
    """Print medians, the paired ratio to the eager teacher, and the one to the fastest R18."""
    medians = np.median(times_ms, axis=0)
    ratios = np.median(times_ms[:, :1] / times_ms, axis=0)
    best = min(m for name, m in zip(names, medians, strict=True) if name.startswith("R18"))
    print(f"Batch {batch}, {len(times_ms)} repetitions, all in turns.\n")
    print("| engine | median ms | eager teacher over it | fastest student over it |")
    print("| --- | ---: | ---: | ---: |")
    for name, median, ratio in zip(names, medians, ratios, strict=True):
        over = f"{best / median:.2f}" if name.startswith("R18") else ""
        print(f"| {name} | {median:.3f} | {ratio:.2f} | {over} |")
    print(flush=True)


def students(work: Path) -> Iterator[tuple[str, ModelProto, NDArray[np.float32]]]:
    """Yield the name, fp32 graph and bank of every distilled student in a working folder."""
    files = sorted((work / "entries" / "distill").glob("*/student.safetensors"))
    for folder in (path.parent for path in files):
        network, card = factory.load(folder / "student.safetensors", code=None, place="student")
        graph = torch_export.from_torch(network, card, opset=BACKENDS["onnxruntime"].opset)
        yield folder.name[:8], graph, image_bank.load(folder / "bank.npz", "the bank")


def auto(work: Path) -> None:
    """Let the build choose, then measure every candidate for longer."""
    torch.set_num_threads(1)
    heading('What precision = "auto" picks')
    for name, graph, bank_NCHW in students(work):
        with tempfile.TemporaryDirectory() as folder:
            converter = PrecisionConverter(graph, bank_NCHW, Build())
            autotuner = autotune.Autotuner(
                converter, bank_NCHW, device="cpu", folder=Path(folder), threads=1
            )
            autotuner.run(selection.candidates(Build(), "cpu"))
            autotuner.choose()
            running = [result for result in autotuner.results if result.session is not None]
            calls = [r.session.prepared(bank_NCHW[:1]) for r in running if r.session]
            again_ms = np.median(_in_turns(calls, AGAIN_ROUNDS), axis=0)
        print(
            f"Student {name}, {autotuner.repetitions} repetitions, then {AGAIN_ROUNDS}, batch 1.\n"
        )
        print("| candidate | differs from fp32 | ms | ms again | verdict |")
        print("| --- | ---: | ---: | ---: | --- |")
        for result, ms in zip(running, again_ms, strict=True):
            print(
                f"| {result.backend} {result.precision} | {result.disagreement:.4f} "
                f"| {result.p50_ms:.4f} | {ms:.4f} | {result.verdict} |"
            )
        print(flush=True)


def dataset_of(named: str) -> Dataset:
    """Return the images of `digits` or `SOURCE:FOLDER`."""
    source, _, folder = named.partition(":")
    return images.load(msgspec.convert({"source": source}, Data), Path(folder) if folder else None)


def accuracy(work: Path, data: str, count: int) -> None:
    """Compare calibrations by top-1 on held-out images, for every student in a folder."""
    heading(f"int8 on {data.partition(':')[0]}: calibrated by the bank, and by real images")
    dataset = dataset_of(data)
    cpu = torch.device("cpu")
    x_NCHW = dataset.held_out.batch(slice(0, None), cpu).contiguous().numpy()
    chosen = torch.randperm(len(dataset.train.y_N), generator=torch.Generator().manual_seed(0))
    real_NCHW = dataset.train.batch(chosen[:count], cpu).contiguous().numpy()
    y_N = dataset.held_out.y_N.numpy()
    print(f"n = {len(y_N)} held-out images, {count} images for each calibration.\n")
    print("| student | scheme | method | images | top-1 | lost | gained |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: |")
    for name, model, bank_NCHW in students(work):
        right_N = hits(model, x_NCHW, y_N)
        print(f"| {name} | fp32 | | | {right_N.mean():.4f} | | |")
        for backend in ("onnxruntime", "tensorrt"):
            for method in ("minmax", "percentile", "entropy"):
                assert method in METHODS
                for kind, calibration_NCHW in (("bank", bank_NCHW), ("real", real_NCHW)):
                    options = Build(calibration_method=method, calibration_images=count)
                    converter = PrecisionConverter(model, calibration_NCHW, options)
                    int8 = converter.convert("int8", BACKENDS[backend]).model
                    now_N = hits(int8, x_NCHW, y_N)
                    lost, gained = (right_N & ~now_N).sum(), (~right_N & now_N).sum()
                    print(
                        f"| {name} | {BACKENDS[backend].scheme} | {method} | {kind} "
                        f"| {now_N.mean():.4f} | {lost} | {gained} |",
                        flush=True,
                    )


def hits(
    model: ModelProto, x_NCHW: NDArray[np.float32], y_N: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which images, of N, a model gives their class."""
    session = ort.OrtSession(model.SerializeToString())
    hits_N: NDArray[np.bool_] = autotune.logits(session.infer, x_NCHW).argmax(axis=1) == y_N
    return hits_N


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("latency")
    one.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    one.add_argument("--batch", type=int, action="append", help="absent: 1 and 32")
    one.add_argument("--repetitions", type=int, default=300)
    one.add_argument("--quick", action="store_true", help="few repetitions, no torch.compile")
    for other in (verbs.add_parser("auto"), verbs.add_parser("accuracy")):
        other.add_argument("work", type=Path, help="a .madpipe folder with distilled students")
        other.add_argument("--data", default="digits", help="digits or SOURCE:FOLDER")
        other.add_argument("--images", type=int, default=256, help="for each calibration")
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if chosen.verb == "accuracy":
        accuracy(chosen.work, chosen.data, chosen.images)
    elif chosen.verb == "auto":
        auto(chosen.work)
    else:
        repetitions = 20 if chosen.quick else chosen.repetitions
        latency(chosen.device, chosen.batch or (1, 32), repetitions, quick=chosen.quick)


if __name__ == "__main__":
    main()

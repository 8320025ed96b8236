"""Do the gates catch a student that got worse and an engine that got slower? Prints Markdown.

    uv run python -m benchmarks.gate_regressions --home .madpipe [--repeats 20]

`--home` is the working folder of a finished run on digits. Every run is a fresh process that takes
the stored teacher and student through the real export, build and validate stages and judges what
they measured: with nothing changed, with noise added to the student's weights, or with convolutions
added to the engine. The bound on the speed-up is 0.9 of what a few runs beforehand measured.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import safetensors.torch
import torch
from onnx import TensorProto, helper, numpy_helper

from pipeline import machine
from pipeline.cache.keys import file_sha256
from pipeline.cache.store import Store
from pipeline.checkpoint import Checkpoints
from pipeline.gates.intervals import share_bounds
from pipeline.gates.judge import Verdict, judge
from pipeline.gates.measurements import Measurements
from pipeline.settings import Build, Gate, Settings, Validate
from pipeline.stage import Context, Stage
from stages import catalog
from stages.build import stage as build_stage
from stages.export import stage as export_stage
from stages.validate import stage as validate_stage

ROOT = Path(__file__).parent.parent
NOISE = 0.6
"""Standard deviation of the noise in a weight over that of its layer's weights."""
SLOWER_LAYERS, SLOWER_CHANNELS = 3, 64
KINDS = ("unchanged", "worse", "slower")
SETTINGS = Settings(
    build=Build(backend="onnxruntime", device="cpu", precision="fp32"),
    validate=Validate(batch_sizes=(1,), teacher_engine=False),
)
PILOTS = 5
TOLERATED = 0.9


def child(home: Path, kind: str, seed: int) -> None:
    """Run the three stages once and print the measurements and how long validation took."""
    store = Store(home)
    files = {
        name: output(store, *name.split("/"))
        for name in ("teacher/weights", "distill/student", "distill/bank")
    }
    stages = {stage.name: stage for stage in catalog.declare(SETTINGS, home)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if kind == "worse":
            files["distill/student"] = noisy(files["distill/student"], folder, seed)
        for name, run in (("export", export_stage.run), ("build", build_stage.run)):
            files |= run_stage(stages[name], run, files, folder)
        if kind == "slower":
            weigh_down(files["build/engine"], files["build/manifest"])
        begin_s = time.perf_counter()
        outputs = run_stage(stages["validate"], validate_stage.run, files, folder)
        seconds = time.perf_counter() - begin_s
        measured = json.loads(outputs["validate/measurements"].read_bytes())
    json.dump({"measured": measured, "seconds": seconds}, sys.stdout)


def output(store: Store, stage: str, name: str) -> Path:
    """Return an output of the newest entry of a stage."""
    entry = store.newest(stage)
    if entry is None:
        sys.exit(f"{store.home}: holds no {stage}; madpipe run all first")
    return entry.output(name)


def run_stage(stage: Stage, run: Any, files: dict[str, Path], folder: Path) -> dict[str, Path]:
    """Run a stage on files and return its outputs."""
    out = folder / stage.name
    out.mkdir()
    context = Context(
        stage=stage,
        settings=SETTINGS,
        inputs={name: files[name] for name in stage.inputs},
        out=out,
        checkpoints=Checkpoints(
            folder / "checkpoint", stage=stage.name, every_s=3600.0, stop_asked=lambda: False
        ),
        emit=lambda kind, fields: None,  # noqa: ARG005
        stop_asked=lambda: False,
    )
    run(context)
    return {f"{stage.name}/{name}": out / file for name, file in stage.outputs.items()}


def noisy(student: Path, folder: Path, seed: int) -> Path:
    """Return a copy of a student whose layers' weights have noise."""
    with safetensors.safe_open(student, "pt") as opened:
        metadata = opened.metadata()
    rng = torch.Generator().manual_seed(seed)
    tensors = safetensors.torch.load_file(student)
    for name, weights in tensors.items():
        if weights.ndim > 1:
            noise = torch.randn(weights.shape, generator=rng)
            tensors[name] = weights + NOISE * weights.std() * noise
    path = folder / student.name
    path.write_bytes(safetensors.torch.save(tensors, metadata))
    return path


def weigh_down(engine: Path, manifest_path: Path) -> None:
    """Add convolutions to an engine of ONNX Runtime, which leave its logits as they are."""
    model = onnx.load(str(engine))
    graph = model.graph
    images, logits = graph.input[0], graph.output[0]
    channels = images.type.tensor_type.shape.dim[1].dim_value
    for node in graph.node:
        node.output[:] = ["heavy_light" if name == logits.name else name for name in node.output]
    rng = np.random.default_rng(0)
    before, width = images.name, channels
    for number in range(SLOWER_LAYERS):
        values = rng.normal(0, 0.05, (SLOWER_CHANNELS, width, 3, 3)).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, f"heavy_w{number}"))
        names = ([before, f"heavy_w{number}"], [f"heavy_{number}"])
        graph.node.append(helper.make_node("Conv", *names, pads=[1, 1, 1, 1]))
        before, width = f"heavy_{number}", SLOWER_CHANNELS
    nothing = numpy_helper.from_array(np.zeros(1, np.float32), "heavy_nothing")
    axes = numpy_helper.from_array(np.array([1, 2, 3], np.int64), "heavy_axes")
    graph.initializer.extend((nothing, axes))
    graph.node.extend(
        (
            helper.make_node("ReduceMean", [before, "heavy_axes"], ["heavy_mean"], keepdims=0),
            helper.make_node("Unsqueeze", ["heavy_mean", "heavy_one"], ["heavy_column"]),
            helper.make_node("Mul", ["heavy_column", "heavy_nothing"], ["heavy_zero"]),
            helper.make_node("Add", ["heavy_light", "heavy_zero"], [logits.name]),
        )
    )
    graph.initializer.append(helper.make_tensor("heavy_one", TensorProto.INT64, [1], [1]))
    onnx.checker.check_model(model, full_check=True)
    engine.write_bytes(model.SerializeToString())
    manifest = msgspec.json.decode(manifest_path.read_bytes())
    manifest["sha256"] = file_sha256(engine)
    manifest_path.write_bytes(msgspec.json.encode(manifest))


class Repetition(msgspec.Struct):
    """What a fresh process measured, and how long its validate stage took."""

    measured: Measurements
    seconds: float


def measure(home: Path, kind: str, seed: int) -> Repetition:
    """Return what a fresh process measured."""
    command = [sys.executable, "-m", "benchmarks.gate_regressions", "--home", str(home)]
    answer = subprocess.run(
        [*command, "--child", kind, "--seed", str(seed)],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return msgspec.json.decode(answer.stdout, type=Repetition)


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".madpipe"))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    home = options.home.resolve()
    if options.child:
        child(home, options.child, options.seed)
        return
    facts = machine.environment(ROOT)
    names = ("cpu", "cores", "python", "torch", "onnxruntime-gpu", "onnxruntime", "git")
    print("## Whole runs through the gates\n")
    print(", ".join(f"{name} {facts[name]}" for name in names if name in facts), end="\n\n")
    pilots = [measure(home, "unchanged", seed).measured for seed in range(PILOTS)]
    speedup = statistics.median(
        pilot.latency.headline.speedup.median for pilot in pilots if pilot.latency
    )
    gates = {
        "student_top1_drop": Gate(max=0.03),
        "engine_top1_drop": Gate(max=0.005),
        "speedup": Gate(min=TOLERATED * speedup),
    }
    print(f"speedup.min = {TOLERATED * speedup:.2f}, {TOLERATED:g} of the median of {PILOTS} runs")
    print("beforehand; student_top1_drop.max = 0.03; engine_top1_drop.max = 0.005.\n")
    print("| run | gate | n | fail | inconclusive | pass | values | fails (95 % interval) |")
    print("| --- " * 8 + "|")
    spent: list[float] = []
    verdicts: dict[str, list[list[Verdict]]] = {kind: [] for kind in KINDS}
    for seed in range(options.repeats):
        for kind in KINDS:
            repetition = measure(home, kind, seed)
            spent.append(repetition.seconds)
            verdicts[kind].append(judge(repetition.measured, gates))
    for kind, runs in verdicts.items():
        for number, name in enumerate(gates):
            counts = Counter(run[number].verdict for run in runs)
            values = [value for run in runs if (value := run[number].value) is not None]
            low, high = share_bounds(counts["fail"], len(runs), 0.975)
            print(
                f"| {kind} | {name} | {len(runs)} | {counts['fail']} "
                f"| {counts['inconclusive']} | {counts['pass']} "
                f"| {min(values):.3f} to {max(values):.3f} | {low:.0%} to {high:.0%} |"
            )
    middle = statistics.median(spent)
    print(f"\nThe validate stage took {middle:.1f} s (median), {max(spent):.1f} s at most.")


if __name__ == "__main__":
    main()

"""Measures how often the gates are wrong; prints Markdown with hardware, versions and n.

    uv run python benchmarks/gates.py --home .madpipe
    uv run python benchmarks/gates.py --home .madpipe --processes 5
    uv run python benchmarks/gates.py --home .madpipe --repeats 2 --null-runs 4 --slow-runs 4

`--home` is the working folder of a finished run on digits. Three parts:

1. Latency. Each run is one fresh process (or `--processes` of them) that measures, in turns, the
   stored engine, the same engine again, and the same engine with real work added that makes it
   10 % slower. A gate on the ratio of equal engines that fails is a false alarm; one on the slower
   engine that does not fail missed a real regression.
2. Comparison. Successive runs are compared as `madpipe compare` does, the first engine standing
   for the teacher.
3. Accuracy. The stored student unchanged and with its weights perturbed, judged by the gate on
   the drop against the teacher, on the digits' held-out images.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import machine
from pipeline.cache.store import Store
from pipeline.gates.estimates import drop_estimate, speedup_estimate
from pipeline.gates.intervals import share_bounds
from pipeline.gates.judge import verdict_on
from pipeline.gates.measurements import RatioRecord
from pipeline.gates.pairs import ratio_estimate
from pipeline.settings import Gate
from stages.engines import ort, timing
from stages.validate.latency_intervals import ratio_record

ROOT = Path(__file__).parent.parent
SLOWER = 0.10
SPREAD = 0.01
Outcomes = Counter[str]


def child(engine: Path, shape: Sequence[int], repetitions: int) -> None:
    """Measure in this process and print milliseconds of three engines."""
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    first, second, third = (
        ort.open(engine, device="cpu", threads=1).prepared(images) for _ in range(3)
    )
    timing.warm_up([first, second, third], 0.3)
    # In turns as later on: alone, it would find its caches warmer than it will.
    alone_ms = float(np.median(timing.interleaved([first, second, third], 100)[:, 2]))

    def slower() -> None:
        third()
        end_s = time.perf_counter() + SLOWER * alone_ms / 1000
        while time.perf_counter() < end_s:
            pass

    times_ms = timing.interleaved([first, second, slower], repetitions)
    json.dump(times_ms.tolist(), sys.stdout)


def measured(engine: Path, options: argparse.Namespace) -> NDArray[np.float64]:
    """Return milliseconds of shape (processes, repetitions, 3), each row from a fresh process."""
    repetitions = -(-options.pairs // options.processes)
    shape = ",".join(map(str, options.shape))
    command = [sys.executable, __file__, "--child", str(engine), "--pairs", str(repetitions)]
    command += ["--shape", shape]
    rows = []
    for _ in range(options.processes):
        answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        rows.append(json.loads(answer.stdout))
    return np.array(rows)


def verdict(ratio: RatioRecord, gate: Gate) -> str:
    """Return the verdict on one ratio by the real gate on the speed-up."""
    return verdict_on("speedup", gate, speedup_estimate(ratio, gate.confidence)).verdict


def row(what: str, expected: str, outcomes: Outcomes) -> None:
    """Print one line of the table, with 95 % bounds of the share of fails."""
    n = outcomes.total()
    low, high = share_bounds(outcomes["fail"], n, 0.975)
    print(
        f"| {what} | {expected} | {n} | {outcomes['fail']} | {outcomes['inconclusive']} | "
        f"{outcomes['pass']} | {outcomes['fail'] / n:.1%} ({low:.1%} to {high:.1%}) |"
    )


def table(title: str) -> None:
    """Print the head of a table."""
    print(f"\n### {title}\n")
    print("| what | expected | n | fail | inconclusive | pass | fails (95 % interval) |")
    print("| --- | --- | --- | --- | --- | --- | --- |")


def of_latency(engine: Path, options: argparse.Namespace) -> None:
    """Print the error rates of gates on latency, and of comparisons of runs."""
    null: Outcomes = Counter()
    slow: Outcomes = Counter()
    nulls, slows, medians = [], [], []
    for number in range(max(options.null_runs, options.slow_runs)):
        times_PRS = measured(engine, options)
        base, same, slower = (times_PRS[..., column] for column in range(3))
        equal = ratio_record(base, same, options.spread)
        changed = ratio_record(base, slower, options.spread)
        nulls.append(equal)
        slows.append(changed)
        medians.append(equal.median)
        if number < options.null_runs:
            null[verdict(equal, Gate(min=1.0))] += 1
        if number < options.slow_runs:
            slow[verdict(changed, Gate(min=1.0))] += 1
    spread = float(np.std(np.log(medians), ddof=1)) if len(medians) > 1 else float("nan")
    widths = [np.log(equal.interval[1] / equal.interval[0]) / 2 for equal in nulls]
    real = float(np.median([1 / changed.median for changed in slows]) - 1)
    table(f"Latency: speedup.min = 1, {options.pairs} pairs, {options.processes} process(es) a run")
    row("the same engine", "at most 5 % fail", null)
    row(f"{real:.1%} slower", "at least 95 % fail", slow)
    print(f"\nRatio of equal engines: standard deviation {spread:.2%} between runs, ")
    print(f"half-width of the 95 % interval {np.median(widths):.2%} (median).")
    table("Comparison of successive runs: latency_ratio.max = 1")
    row("the same engine", "at most 5 % fail", compared(nulls, nulls))
    row(f"{real:.1%} slower", "at least 95 % fail", compared(nulls, slows))


def compared(bases: Sequence[Any], heads: Sequence[Any]) -> Outcomes:
    """Return the verdicts on each run against the one before it."""
    outcomes: Outcomes = Counter()
    for base, head in zip(bases, heads[1:], strict=False):
        estimate = ratio_estimate(base, head, 0.95)
        outcomes[verdict_on("latency_ratio", Gate(max=1.0), estimate).verdict] += 1
    return outcomes


def of_accuracy(store: Store, options: argparse.Namespace) -> None:
    """Print the verdicts of the gate on the drop on the student as it is and of worse ones."""
    import onnx  # noqa: PLC0415  (torch comes with it, which the processes above do without)
    from onnx import numpy_helper  # noqa: PLC0415

    from pipeline.settings import Data  # noqa: PLC0415
    from stages.data import images  # noqa: PLC0415
    from stages.networks.factory import load  # noqa: PLC0415
    from stages.networks.predict import predict_torch  # noqa: PLC0415
    from stages.validate import accuracy  # noqa: PLC0415

    held_out = images.load(Data(), None).held_out
    labels = held_out.y_N.numpy()
    teacher, _ = load(output(store, "teacher", "weights"), code=None, place="teacher")
    teacher_logits = {"teacher": predict_torch(teacher, held_out, cpu()).numpy()}
    stored = onnx.load(str(output(store, "export", "onnx")))
    x_NCHW = held_out.batch(slice(0, len(labels)), cpu()).contiguous().numpy()

    def run(strength: float, seed: int) -> tuple[str, float]:
        model = onnx.ModelProto()
        model.CopyFrom(stored)
        rng = np.random.default_rng(seed)
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.ndim > 1:
                noise = rng.normal(0, strength * values.std(), values.shape)
                changed = (values + noise).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
        logits = ort.OrtSession(model.SerializeToString()).infer(x_NCHW)
        both = teacher_logits | {"student": logits}
        paired = accuracy.compare(both, labels, held_out.classes).paired["student"]
        gate = Gate(max=options.margin)
        drop = drop_estimate(paired.lost, paired.gained, paired.n, gate.confidence)
        verdict = verdict_on("student_top1_drop", gate, drop)
        assert verdict.value is not None
        return verdict.verdict, verdict.value

    table(f"Accuracy: student_top1_drop.max = {options.margin:g}, n = {len(labels)} images")
    for strength in (0.0, *options.strengths):
        results = [run(strength, seed) for seed in range(options.repeats)]
        drop = float(np.mean([value for _, value in results]))
        what = "unchanged" if strength == 0 else f"weights + {strength:g} of their deviation"
        expected = "all pass" if strength == 0 else "fail where the drop is beyond the margin"
        row(f"{what}, mean drop {drop:.3f}", expected, Counter(verdict for verdict, _ in results))


def cpu() -> Any:
    """Return the CPU, as torch names it."""
    import torch  # noqa: PLC0415

    return torch.device("cpu")


def output(store: Store, stage: str, name: str) -> Path:
    """Return an output of the newest entry of a stage."""
    entry = store.newest(stage)
    if entry is None:
        sys.exit(f"{store.home}: holds no {stage}; madpipe run all first")
    return entry.output(name)


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    numbers: Callable[[str], list[int]] = lambda text: [int(count) for count in text.split(",")]  # noqa: E731
    parser.add_argument("--home", type=Path, default=Path(".madpipe"))
    parser.add_argument("--repeats", type=int, default=20, help="runs for accuracy")
    parser.add_argument("--null-runs", type=int, default=200)
    parser.add_argument("--slow-runs", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=400, help="repetitions of one run")
    parser.add_argument("--processes", type=int, default=1, help="fresh processes of one run")
    parser.add_argument("--spread", type=float, default=SPREAD, help="validate.process_spread")
    parser.add_argument("--margin", type=float, default=0.03)
    parser.add_argument("--strengths", type=float, nargs="*", default=[0.3, 0.6])
    parser.add_argument("--shape", type=numbers, default=[1, 1, 8, 8], help="B,C,H,W")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.shape, options.pairs)
        return
    facts = machine.environment(ROOT)
    names = (
        "cpu",
        "cores",
        "memory_gib",
        "python",
        "torch",
        "onnxruntime-gpu",
        "onnxruntime",
        "numpy",
        "git",
    )
    print("## How often the gates are wrong\n")
    print(", ".join(f"{name} {facts[name]}" for name in names if name in facts))
    store = Store(options.home)
    of_latency(output(store, "build", "engine"), options)
    of_accuracy(store, options)


if __name__ == "__main__":
    main()

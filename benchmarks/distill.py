"""Measures what the distill stage promises; prints Markdown with hardware, versions and n.

    uv run python -m benchmarks.distill throughput            against a plain loop, in turns
    uv run python -m benchmarks.distill methods --seeds 5     MAD, ABM, DFKD-Mem on one budget
    uv run python -m benchmarks.distill methods --set data.source=cifar10 --set ...
    uv run python -m benchmarks.distill memory                peak memory of the stage

`methods` follows the student's top-1 over time with the monitor set, which influences nothing,
and reports the last student's; any setting can be changed with --set.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch

from benchmarks.pairs import PAIRS
from benchmarks.plain_loop import PlainLoop
from pipeline import machine
from pipeline.settings import Distill
from stages.distill.trainer import DistillTrainer

ROOT = Path(__file__).parent.parent
MADPIPE = str(Path(sys.executable).with_name("madpipe"))
_Loop = DistillTrainer | PlainLoop


def heading(title: str) -> None:
    """Print what was measured where."""
    facts = machine.environment(ROOT)
    names = ("cpu", "cores", "gpu0", "python", "torch", "git")
    print(f"## {title}\n")
    print(", ".join(f"{name} {facts[name]}" for name in names if name in facts), end="\n\n")


def throughput(pair: str, steps: int, repeats: int) -> None:
    """Time rounds of all loops in turns."""
    options = Distill(method="mad", student_steps=steps, rounds=10_000)
    fresh = PAIRS[pair].trainer(options)
    reused = PAIRS[pair].trainer(msgspec.structs.replace(options, draw_every=steps))
    loops: dict[str, _Loop] = {
        "plain loop": PAIRS[pair].plain(options),
        "madpipe, a draw each step": fresh,
        f"madpipe, a draw for {steps} steps": reused,
    }
    for loop in loops.values():
        loop.train_round()
        loop.train_round()
    times: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(repeats):
        order = list(loops.items())
        for name, loop in order if number % 2 == 0 else reversed(order):
            begin_s = time.perf_counter()
            loop.train_round()
            times[name].append(time.perf_counter() - begin_s)
    images = 2 * options.batch_size * steps
    base = statistics.median(times["plain loop"])
    networks = f"{PAIRS[pair].teacher} to {PAIRS[pair].student}"
    print(f"### {pair}: {networks}, {steps} student steps a round\n")
    print(f"| loop | student samples/s | against the plain loop | (n = {repeats} rounds, in turns)")
    print("| --- | --- | --- | --- |")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        ratios = sorted(p / t for p, t in zip(times["plain loop"], seconds, strict=True))
        low, high = ratios[len(ratios) // 10], ratios[-len(ratios) // 10 - 1]
        print(
            f"| {name} | {images / median:,.0f} | {base / median:.2f} "
            f"| tenth to ninetieth percentile of pairs {low:.2f} to {high:.2f} |"
        )
    print(flush=True)


def methods(names: Sequence[str], seeds: int, sets: Sequence[str], home: str | None) -> None:
    """Distil by each method on the same budget and follow the student."""
    heading(f"{', '.join(names)} on one budget, {seeds} seeds")
    print("Settings:", ", ".join(sets) or "as shipped", end="\n\n")
    print("| method | seed | teacher | last | best | drop, points | mu | sigma^2 | distill s |")
    print("| --- " * 9 + "|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(home or scratch)
        (folder / "pipeline.toml").write_bytes((ROOT / "pipeline.toml").read_bytes())
        drops: dict[str, list[float]] = {name: [] for name in names}
        for seed in range(seeds):
            for name in names:
                row = one(folder, [*sets, f"distill.method={name}", f"seed={seed}"])
                drops[name].append(100 * (row["teacher"] - row["last"]))
                print(
                    f"| {name} | {seed} | {100 * row['teacher']:.2f} | {100 * row['last']:.2f} "
                    f"| {100 * row['best']:.2f} | {drops[name][-1]:.2f} | {100 * row['mu']:.2f} "
                    f"| {1e4 * row['variance']:.1f} | {row['seconds']:.0f} |",
                    flush=True,
                )
    print("\n(mu and sigma^2 of top-1 in percent over the run; n of images as in the data)\n")
    for name, points in drops.items():
        spread = statistics.stdev(points) if len(points) > 1 else float("nan")
        mean = statistics.mean(points)
        print(f"- {name}: mean drop {mean:.2f} points, s.d. {spread:.2f}, n = {len(points)}")


def one(folder: Path, sets: Sequence[str]) -> dict[str, float]:
    """Distil once with the monitor on and return the figures."""
    settings = (*sets, "distill.monitor=held-out")
    options = [word for setting in settings for word in ("--set", setting)]
    subprocess.run([MADPIPE, "distill", *options], cwd=folder, capture_output=True, check=True)
    status = subprocess.run(
        [MADPIPE, "status", "--json", *options], cwd=folder, capture_output=True, check=True
    )
    stages = {stage["name"]: stage for stage in json.loads(status.stdout)["stages"]}
    figures = stages["distill"]["metrics"]
    return {
        "teacher": stages["teacher"]["metrics"]["top1"],
        "last": figures["monitor_top1_last"],
        "best": figures["monitor_top1_best"],
        "mu": figures["monitor_top1_mean"],
        "variance": figures["monitor_top1_variance"],
        "seconds": stages["distill"]["seconds"],
    }


_SIX_ROUNDS = """
import resource, sys
sys.path.insert(0, {folder!r})
from benchmarks.pairs import PAIRS
from pipeline.settings import Distill
trainer = PAIRS[{pair!r}].trainer(Distill(rounds=100, method={method!r}, memory_size={size}))
for _ in range(6):
    trainer.train_round()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def memory(pair: str) -> None:
    """Measure the peak memory of six rounds by each method, each in a process of its own."""
    print(f"### Peak memory, {pair}, 6 rounds, n = 3 processes each\n")
    print("| method | peak MiB, median |\n| --- | --- |")
    for method, size in (("abm", 1), ("mad", 1), ("dfkd-mem", 2560), ("dfkd-mem", 25600)):
        source = _SIX_ROUNDS.format(folder=str(ROOT), pair=pair, method=method, size=size)
        peaks = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", source], capture_output=True, text=True, check=True
            )
            peaks.append(int(done.stdout.split()[-1]) / 1024)
        label = f"{method}, {size} images" if method == "dfkd-mem" else method
        print(f"| {label} | {statistics.median(peaks):.0f} |", flush=True)
    print()


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("throughput", "methods", "memory"))
    parser.add_argument("--pair", choices=tuple(PAIRS), action="append")
    parser.add_argument("--steps", type=int, action="append", help="student steps in a round")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--method", action="append")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--home", help="a folder to work in and keep, so that nothing runs twice")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: its own choice")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.what == "throughput":
        heading(f"Student samples a second, {torch.get_num_threads()} threads")
        for pair in arguments.pair or PAIRS:
            for steps in arguments.steps or (5,):
                throughput(pair, steps, arguments.repeats)
    elif arguments.what == "memory":
        heading("Peak memory of the distillation")
        for pair in arguments.pair or PAIRS:
            memory(pair)
    else:
        names = arguments.method or ("madpipe", "mad", "abm", "dfkd-mem")
        methods(names, arguments.seeds, arguments.set, arguments.home)


if __name__ == "__main__":
    main()

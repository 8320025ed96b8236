"""Measures what the spine promises; prints Markdown with hardware, versions and n.

    uv run python benchmarks/spine.py fresh --seeds 3       whole runs from nothing
    uv run python benchmarks/spine.py cached --dvc PATH     cached runs against `dvc repro`
    uv run python benchmarks/spine.py entries               `plan` with 10 and 1000 entries

`cached` alternates madpipe and dvc, both up to date with five stages, in one run. PATH is a dvc
executable of any environment.
"""

import argparse
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline import machine

ROOT = Path(__file__).parent.parent
MADPIPE = str(Path(sys.executable).with_name("madpipe"))


def timed(command: Sequence[str], folder: Path) -> float:
    """Return the wall seconds of one process that must succeed."""
    begin_s = time.perf_counter()
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin_s
    if process.returncode:
        sys.exit(f"{command} left with {process.returncode}:\n{process.stdout}{process.stderr}")
    return seconds


def heading(title: str) -> None:
    """Print what was measured where."""
    facts = machine.environment(ROOT)
    names = ("cpu", "cores", "python", "torch", "onnxruntime-gpu", "onnxruntime", "git")
    print(f"## {title}\n")
    print(", ".join(f"{name} {facts[name]}" for name in names if name in facts), end="\n\n")


def project(folder: Path) -> Path:
    """Make a project folder with the shipped settings."""
    shutil.copy(ROOT / "pipeline.toml", folder)
    return folder


def fresh(seeds: int) -> None:
    """Run everything from nothing, once for each seed."""
    heading(f"`run all` from nothing, {seeds} seeds")
    print("| seed | wall s | teacher | student | drop, points | speed-up, batch 1 |")
    print("| --- | --- | --- | --- | --- | --- |")
    walls, drops = [], []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as name:
            folder = project(Path(name))
            command = [MADPIPE, "run", "all", "--set", f"seed={seed}", "--inconclusive", "pass"]
            walls.append(timed(command, folder))
            output = subprocess.run(
                [MADPIPE, "report", "--format", "json"],
                cwd=folder,
                capture_output=True,
                check=True,
            )
            report = json.loads(output.stdout)
        teacher, student = (report["accuracy"][who]["top1"] for who in ("teacher", "student"))
        drops.append(100 * (teacher - student))
        ratio = report["latency"]["speedup"]["median"]
        print(
            f"| {seed} | {walls[-1]:.1f} | {teacher:.4f} | {student:.4f} "
            f"| {drops[-1]:.2f} | {ratio:.1f} |",
            flush=True,
        )
    print(
        f"\nMean wall {statistics.mean(walls):.1f} s, longest {max(walls):.1f} s; "
        f"mean drop {statistics.mean(drops):.2f} points (n = 540 images, {seeds} seeds)."
    )


def interleaved(
    sides: dict[str, Callable[[], float]], repeats: int
) -> dict[str, tuple[float, float, float]]:
    """Return median, least and most seconds of each command, measured in turns."""
    for side in sides.values():
        side()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats):
        order = list(sides.items())
        for name, side in order if number % 2 == 0 else reversed(order):
            times[name].append(side())
    return {name: (statistics.median(t), min(t), max(t)) for name, t in times.items()}


def cached(dvc: str, repeats: int) -> None:
    """Run up-to-date pipelines of five stages: ours and dvc's, in turns."""
    version = subprocess.run([dvc, "--version"], capture_output=True, text=True, check=True)
    heading(f"Fully cached `run all` against up-to-date `dvc repro` {version.stdout.strip()}")
    small = ["distill.rounds=100", "validate.pairs=20"]
    options = [part for change in small for part in ("--set", change)]
    gates = ["--set", "gates={speedup={min=0.001}}"]
    with tempfile.TemporaryDirectory() as name:
        madpipe_folder, dvc_folder = project(Path(name)), Path(name, "dvc")
        run = [MADPIPE, "run", "all", *options, *gates]
        timed(run, madpipe_folder)
        dvc_project(dvc, dvc_folder)
        figures = interleaved(
            {
                "madpipe run all": lambda: timed(run, madpipe_folder),
                "dvc repro": lambda: timed([dvc, "repro"], dvc_folder),
                "madpipe plan": lambda: timed([MADPIPE, "plan", *options], madpipe_folder),
            },
            repeats,
        )
    print(f"| command | median s | least | most |  (n = {repeats}, in turns)\n|---|---|---|---|")
    for command, (median, least, most) in figures.items():
        print(f"| {command} | {median:.3f} | {least:.3f} | {most:.3f} |")
    ratio = figures["madpipe run all"][0] / figures["dvc repro"][0]
    print(f"\nRatio of the medians: {ratio:.2f}.")


def dvc_project(dvc: str, folder: Path) -> None:
    """Make an up-to-date dvc pipeline of five stages with files of the same sizes."""
    folder.mkdir()
    sizes = {"teacher": 2_800_000, "distill": 1_000_000, "export": 316_000, "build": 316_000}
    lines = ["stages:"]
    before = "params.json"
    (folder / before).write_text("{}", encoding="utf-8")
    for stage, size in {**sizes, "validate": 20_000}.items():
        script = f"from pathlib import Path; Path('{stage}.bin').write_bytes(bytes({size}))"
        (folder / f"{stage}.py").write_text(script, encoding="utf-8")
        lines += [
            f"  {stage}:",
            f"    cmd: {sys.executable} {stage}.py",
            f"    deps: [{stage}.py, {before}]",
            f"    outs: [{stage}.bin]",
        ]
        before = f"{stage}.bin"
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    timed([dvc, "init", "--no-scm", "--quiet"], folder)
    timed([dvc, "config", "core.analytics", "false"], folder)
    timed([dvc, "repro"], folder)


def entries(repeats: int) -> None:
    """Time `plan` over stores of 10 and of 1000 real entries, in turns."""
    heading("`plan` over 10 and over 1000 stored entries")
    with tempfile.TemporaryDirectory() as name:
        folders = {count: Path(name, str(count)) for count in (10, 1000)}
        for count, folder in folders.items():
            folder.mkdir()
            fill(project(folder), count)
        figures = interleaved(
            {
                f"{count} entries": functools.partial(timed, [MADPIPE, "plan"], folder)
                for count, folder in folders.items()
            },
            repeats,
        )
    print(f"| store | median s | least | most |  (n = {repeats}, in turns)\n|---|---|---|---|")
    for store, (median, least, most) in figures.items():
        print(f"| {store} | {median:.3f} | {least:.3f} | {most:.3f} |")


def fill(folder: Path, count: int) -> None:
    """Store `count` entries of the stages by running a stage of nothing under other seeds."""
    from pipeline.cache.digests import DigestCache  # noqa: PLC0415  (only this measurement needs them)
    from pipeline.cache.store import Store  # noqa: PLC0415
    from pipeline.runner import Runner  # noqa: PLC0415
    from pipeline.settings import Settings  # noqa: PLC0415
    from pipeline.stage import Stage  # noqa: PLC0415

    sys.path.insert(0, str(Path(__file__).parent))
    store = Store(folder / ".madpipe")
    store.prepare()
    stages = tuple(
        Stage(name=name, run="nothing:run", settings=("seed",), outputs={"file": "file"})
        for name in ("teacher", "distill", "export", "build", "validate")
    )
    for seed in range(count // len(stages)):
        Runner(Settings(seed=seed), store, DigestCache(), []).run(stages)


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["fresh", "cached", "entries"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--dvc", default=shutil.which("dvc") or "dvc")
    arguments = parser.parse_args()
    os.environ.pop("MADPIPE_HOME", None)
    if arguments.what == "fresh":
        fresh(arguments.seeds)
    elif arguments.what == "cached":
        cached(arguments.dvc, arguments.repeats)
    else:
        entries(arguments.repeats)


if __name__ == "__main__":
    main()

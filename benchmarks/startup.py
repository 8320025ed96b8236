"""Measures how long commands take to start and to do little; prints Markdown with hardware and n.

    uv run python benchmarks/startup.py commands [--other PATH/bin/madpipe] --repeats 5
    uv run python benchmarks/startup.py imports            what each command imports, by package

`commands` exports a ResNet-18 of torchvision and one for CIFAR from their state dicts and builds
an fp32 engine, each in a new process with the files in memory. `--other` names the command of
another installation, which takes turns with this one. CPU seconds are user and system together;
beside other load they say more than wall seconds.
"""

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline import exit_codes, machine

ROOT = Path(__file__).parent.parent
MADPIPE = Path(sys.executable).with_name("madpipe")
COMMANDS = {
    "--help": ["--help"],
    "export, torchvision's ResNet-18, 224 pixels": ["export", "--student", "r18.pt", "--out"],
    "export, ResNet-20 for CIFAR": ["export", "--student", "r20.pt", "--out"],
    "build fp32, ResNet-18": ["build", "--onnx", "r18.onnx", "--precision", "fp32", "--out"],
}
IMPORT = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)")


class Cost(NamedTuple):
    """What one process took."""

    wall_s: float
    cpu_s: float


def heading(title: str) -> None:
    """Print what was measured where, and what else the machine had to do."""
    facts = machine.environment(ROOT)
    names = ("cpu", "cores", "python", "torch", "torchvision", "onnxscript", "onnxruntime-gpu")
    print(f"## {title}\n")
    print(", ".join(f"{name} {facts[name]}" for name in (*names, "git") if name in facts))
    print(f"load {os.getloadavg()[0]:.1f} at the start\n", flush=True)


def run(command: Sequence[str], folder: Path) -> tuple[Cost, str]:
    """Return what a process took that must succeed, and what it wrote to standard error."""
    before, begin_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    wall_s, after = time.perf_counter() - begin_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode != exit_codes.DONE:
        sys.exit(f"{command} left with {process.returncode}:\n{process.stdout}{process.stderr}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall_s, cpu_s), process.stderr


def make_files(folder: Path) -> None:
    """Write state dicts of two networks with random weights, and the first as ONNX."""
    import torch  # noqa: PLC0415  (only this measurement needs them)
    from torchvision.models import resnet18  # noqa: PLC0415

    from models import registry  # noqa: PLC0415

    torch.manual_seed(0)
    small = registry.create("resnet20", in_channels=3, num_classes=10, code=None)
    for name, network in (("r18.pt", resnet18()), ("r20.pt", small)):
        torch.save(network.state_dict(), folder / name)
    run([str(MADPIPE), "export", "--student", "r18.pt"], folder)


def commands(other: Path | None, repeats: int) -> None:
    """Time commands on files, those of two installations in turns."""
    heading("Commands, from nothing to the end of the process")
    sides = {"this": MADPIPE} | ({"other": other} if other else {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder)
        print("| command | side | wall s, median | least | most | CPU s, median |")
        print("| --- | --- | --- | --- | --- | --- |")
        for title, arguments in COMMANDS.items():
            costs: dict[str, list[Cost]] = defaultdict(list)
            for number in range(repeats + 1):
                for side in sorted(sides, reverse=number % 2 == 1):
                    target = ["out.onnx" if "export" in arguments else f"engine-{side}"]
                    whole = [*arguments, *(target if arguments[-1] == "--out" else ())]
                    cost, _ = run([str(sides[side]), *whole], folder)
                    if number:  # the first reads the files into memory
                        costs[side].append(cost)
            for side, measured in costs.items():
                walls = [cost.wall_s for cost in measured]
                print(
                    f"| {title} | {side} | {statistics.median(walls):.2f} | {min(walls):.2f} "
                    f"| {max(walls):.2f} | {statistics.median(c.cpu_s for c in measured):.2f} |",
                    flush=True,
                )
    print(f"\nn = {repeats}" + (", in turns." if other else "."))


def imports() -> None:
    """Print what commands import, by package, as `python -X importtime` has it."""
    heading("Imports by package, ms within the package's own modules")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder)
        for title, arguments in COMMANDS.items():
            target = ["out.onnx" if "export" in arguments else "engine"]
            whole = [*arguments, *(target if arguments[-1] == "--out" else ())]
            command = [sys.executable, "-X", "importtime", str(MADPIPE), *whole]
            packages: dict[str, list[int]] = defaultdict(list)
            for microseconds, module in IMPORT.findall(run(command, folder)[1]):
                packages[module.partition(".")[0]].append(int(microseconds))
            largest = sorted(packages.items(), key=lambda item: -sum(item[1]))[:12]
            total = sum(map(sum, packages.values()))
            texts = (f"{name} {sum(us) / 1e3:.0f} ({len(us)})" for name, us in largest)
            print(f"- {title}: {total / 1e3:.0f} ms; package ms (modules): {', '.join(texts)}")


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["commands", "imports"])
    parser.add_argument("--other", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    os.environ.pop("MADPIPE_HOME", None)
    if arguments.what == "commands":
        commands(arguments.other, arguments.repeats)
    else:
        imports()


if __name__ == "__main__":
    main()

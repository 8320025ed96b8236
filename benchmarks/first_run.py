"""Measures the first `madpipe run all` of the embedded default; prints a Markdown table.

    uv run python -m benchmarks.first_run --seeds 5             on this processor as it is
    uv run python -m benchmarks.first_run --seeds 5 --as-avx2   as if it had AVX2 alone
    uv run python -m benchmarks.first_run --other FOLDER        in turns with another checkout

Each run begins from nothing, in a process and a folder of its own. `--as-avx2` hides AVX-512, bf16
and VNNI from torch (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA) and from madpipe, so that teacher and
distill are in fp32; ONNX Runtime and OpenVINO, which take the last seconds, still see the whole
processor. `--other` has an environment of its own in FOLDER/.venv.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.startup import heading
from pipeline import exit_codes

ROOT = Path(__file__).parent.parent
_STAGES = ("teacher", "distill", "export", "build", "validate")
_ENDED = (exit_codes.DONE, exit_codes.GATE_FAILED, exit_codes.GATE_INCONCLUSIVE)
_HIDDEN = """
import sys
from pipeline import machine
flags = machine.cpu_flags()
newer = {flag for flag in flags if flag.startswith(("avx512", "avx_vnni", "amx"))}
machine.cpu_flags = lambda: flags - newer
from pipeline.cli.main import main
main(sys.argv[1:])
"""
_AS_AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


class FirstRun(NamedTuple):
    """What one run took and reached."""

    stage_s: dict[str, float]
    whole_s: float
    teacher_top1: float
    student_top1: float
    precision: str
    speedup: float
    """Of the engine at batch 1 over the teacher in eager torch."""
    speedup_same_backend: float
    """The same over the teacher as an fp32 engine of the same backend."""

    @property
    def rest_s(self) -> float:
        """Start of the process, plan, gates and end."""
        return self.whole_s - sum(self.stage_s.values())


def first_run(root: Path, seed: int, *, as_avx2: bool) -> FirstRun:
    """Run everything from nothing, by the code of a checkout."""
    python = root / ".venv" / "bin" / "python"
    start = ["-c", _HIDDEN] if as_avx2 else [str(python.with_name("madpipe"))]
    command = [str(python), *start] if as_avx2 else start
    environment = {name: value for name, value in os.environ.items() if name != "MADPIPE_HOME"}
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "pipeline.toml").write_bytes((root / "pipeline.toml").read_bytes())
        begin_s = time.perf_counter()
        done = subprocess.run(
            [*command, "run", "all", "--set", f"seed={seed}"],
            cwd=name,
            env=environment | (_AS_AVX2 if as_avx2 else {}),
            capture_output=True,
            text=True,
            check=False,
        )
        whole_s = time.perf_counter() - begin_s
        if done.returncode not in _ENDED:
            raise SystemExit(f"the run ended with {done.returncode}: {done.stderr[-1000:]}")
        report = [str(python.with_name("madpipe")), "report", "--format", "json"]
        output = subprocess.run(report, cwd=name, env=environment, capture_output=True, check=True)
    document = json.loads(output.stdout)
    stages = {stage["name"]: stage for stage in document["stages"]}
    at_one = document["latency"]["batches"][0]
    accuracy = stages["validate"]["metrics"]
    return FirstRun(
        {name: stages[name]["seconds"] for name in _STAGES},
        whole_s,
        accuracy["teacher_top1"],
        accuracy["student_top1"],
        stages["distill"]["metrics"]["precision"],
        at_one["speedup"]["median"],
        at_one["speedup_same_backend"]["median"],
    )


def row(label: str, runs: list[FirstRun]) -> str:
    """Return the means of some runs as a line of the table."""
    cells = [statistics.mean(run.stage_s[name] for run in runs) for name in _STAGES]
    cells += [statistics.mean(run.rest_s for run in runs)]
    seconds = " | ".join(f"{cell:.1f}" for cell in cells)
    whole_s = [run.whole_s for run in runs]
    drops = [100 * (run.teacher_top1 - run.student_top1) for run in runs]
    whole = f"{statistics.mean(whole_s):.1f} ({min(whole_s):.1f} to {max(whole_s):.1f})"
    tops = 100 * statistics.mean(run.teacher_top1 for run in runs)
    return (
        f"| {label} | {runs[0].precision} | {seconds} | {whole} | {tops:.2f} "
        f"| {statistics.mean(drops):.2f} | {statistics.mean(run.speedup for run in runs):.1f} "
        f"| {statistics.mean(run.speedup_same_backend for run in runs):.1f} | {len(runs)} |"
    )


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--as-avx2", action="store_true")
    parser.add_argument("--other", type=Path)
    arguments = parser.parse_args()
    roots = {"this": ROOT} | ({"other": arguments.other.resolve()} if arguments.other else {})
    heading("The first `run all`, seconds" + (", as with AVX2 alone" if arguments.as_avx2 else ""))
    titles = (
        "checkout",
        "arithmetic",
        *_STAGES,
        "rest",
        "whole",
        "teacher",
        "drop",
        "speed-up",
        "same backend",
        "n",
    )
    print(f"| {' | '.join(titles)} |\n{'| --- ' * len(titles)}|")
    runs: dict[str, list[FirstRun]] = {name: [] for name in roots}
    for seed in range(arguments.seeds):
        for name, root in roots.items():
            runs[name].append(first_run(root, seed, as_avx2=arguments.as_avx2))
            print(row(f"{name}, seed {seed}", runs[name][-1:]), flush=True)
    for name, all_runs in runs.items():
        print(row(f"{name}, mean", all_runs))
    print(
        "\nteacher: top-1 in percent; drop: teacher's less the student's, in points; speed-up: the"
    )
    print(
        "engine's at batch 1, one thread, over the teacher in eager torch, or in the same backend"
    )


if __name__ == "__main__":
    main()

"""Students of several methods after the same wall time, in madpipe's loop and in a plain one.

    python -m benchmarks.fixed_time --teacher teacher.safetensors --data FOLDER --out rows.jsonl
    python -m benchmarks.fixed_time --table rows.jsonl

FOLDER has test/CLASS/*; its images are looked at once, when a student is done, and choose nothing.
A run takes as many rounds as fit its seconds at the speed that it is measured to have, with the
whole schedule of the learning rate in them. Methods and loops come in turns, seed by seed; what
rows.jsonl has already is not run again, so that a campaign goes on after it was cut off. The plain
loop is `benchmarks/plain_loop.py`, with the settings of its method and the same schedule.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from benchmarks.plain_loop import PlainLoop
from benchmarks.short_runs import prepare, round_seconds
from pipeline import machine
from pipeline.settings import Distill
from stages.distill.trainer import DistillTrainer

ROOT = Path(__file__).parent.parent
_COMMON = {"rounds": 1_000_000, "generator_width": 64, "noise_dim": 256}
_REUSED = {"student_steps": 5, "draw_every": 5, "student_learning_rate": 0.1}
_SHORT_STEPS = {
    "student_steps": 20,
    "student_learning_rate": 0.5,
    "generator_learning_rate": 2e-3,
    "augment": "shift-flip",
}
RUNS: Mapping[str, dict[str, Any]] = {
    "madpipe": {"method": "madpipe", "student_batch_size": 64, **_SHORT_STEPS},
    "mad": {"method": "mad", **_REUSED},
    "mad, madpipe's loss and rates": {
        "method": "mad",
        "loss": "kl",
        "temperature": 4.0,
        "adversarial_loss": "l1",
        **_SHORT_STEPS,
        "student_steps": 5,
        "draw_every": 5,
    },
    "abm": {"method": "abm", **_REUSED},
    "dfkd-mem": {"method": "dfkd-mem", **_REUSED},
}
"""What differs from the shipped settings. Decision 12 says on what madpipe's were chosen."""
PLAIN = ("mad", "abm", "dfkd-mem")
"""Runs with a plain loop: the methods as they are commonly written."""
_PLAIN_SETTINGS = {"draw_every": 1}


def main() -> None:
    """Read the command line, and train or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--run", action="append", choices=tuple(RUNS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the table of these rows")
    arguments = parser.parse_args()
    if arguments.table:
        table(rows_of(arguments.table))
        return
    if not (arguments.teacher and arguments.data and arguments.out):
        parser.error("--teacher, --data and --out are needed")
    chosen = arguments.run or list(RUNS)
    for seed in range(arguments.seeds):
        for name in chosen:
            for loop in ("madpipe", *(["plain"] if name in PLAIN else [])):
                train_once(arguments, name, loop, seed)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the finished runs of a file, none where there is no file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines()]


def train_once(arguments: argparse.Namespace, name: str, loop: str, seed: int) -> None:
    """Train a student, unless the file has it already, and add its row to the file."""
    teacher = arguments.teacher.resolve().as_posix()
    key = {"run": name, "loop": loop, "seed": seed, "seconds": arguments.seconds}
    key |= {"teacher": Path(teacher).name, "student": arguments.student}
    if any(key.items() <= row.items() for row in rows_of(arguments.out)):
        return
    options = msgspec.convert(_COMMON | RUNS[name], Distill)
    if loop == "plain":
        options = msgspec.structs.replace(options, **_PLAIN_SETTINGS)
    trainer, _, monitor = prepare(arguments, options, seed)
    rounds, seconds = (in_madpipes if loop == "madpipe" else in_plain)(trainer, arguments.seconds)
    facts = machine.environment(ROOT)
    row: dict[str, Any] = key | {
        "top1": round(100 * monitor(), 2),
        "rounds": rounds,
        "student_steps": rounds * options.student_steps,
        "trained_s": round(seconds, 1),
        "precision": trainer.compute.precision,
        "threads": torch.get_num_threads(),
    }
    row |= {fact: facts[fact] for fact in ("cpu", "cores", "torch", "git") if fact in facts}
    with arguments.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def in_madpipes(trainer: DistillTrainer, seconds: float) -> tuple[int, float]:
    """Train for about so many seconds in madpipe's loop; return the rounds and the seconds."""
    rounds = max(1, int(seconds / round_seconds(trainer)))
    trainer.options = msgspec.structs.replace(trainer.options, rounds=rounds)
    trainer.round, trainer.last_round = 0, rounds
    begin_s = time.monotonic()
    trainer.run()
    return rounds, time.monotonic() - begin_s


def in_plain(trainer: DistillTrainer, seconds: float) -> tuple[int, float]:
    """Train the trainer's own student in the plain loop, for about so many seconds."""
    networks = trainer.teacher, trainer.student, trainer.generator
    plain = PlainLoop(*networks, trainer.options, device=trainer.compute.device)
    rounds = max(1, int(seconds / round_seconds(plain)))
    plain.options, plain.steps = msgspec.structs.replace(plain.options, rounds=rounds), 0
    begin_s = time.monotonic()
    for _ in range(rounds):
        plain.train_round()
    return rounds, time.monotonic() - begin_s


def table(rows: list[dict[str, Any]]) -> None:
    """Print mean and spread of each run and loop."""
    print("| pair | seconds | run | loop | top-1, mean | s.d. | seeds | student steps |")
    print("| --- " * 8 + "|")
    names = ("teacher", "student", "seconds", "run", "loop")
    for key, group in grouped(rows, names):
        tops = [row["top1"] for row in group]
        mean, spread = statistics.mean(tops), ""
        if len(tops) > 1:
            spread = f"{statistics.stdev(tops):.2f}"
        steps = statistics.mean(row["student_steps"] for row in group)
        teacher, student, seconds, run, loop = key
        print(
            f"| {teacher} to {student} | {seconds:g} | {run} | {loop} | {mean:.2f} "
            f"| {spread} | {len(tops)} | {steps:,.0f} |"
        )


def grouped(
    rows: list[dict[str, Any]], names: tuple[str, ...]
) -> Iterator[tuple[tuple[Any, ...], list[dict[str, Any]]]]:
    """Yield the rows that agree in the named fields, in the order of the first of them."""
    keys = dict.fromkeys(tuple(row[name] for name in names) for row in rows)
    for key in keys:
        yield key, [row for row in rows if tuple(row[name] for name in names) == key]


if __name__ == "__main__":
    main()

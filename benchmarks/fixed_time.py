"""Students of several methods after the same wall time, in madpipe's loop and in a plain one.

    F="--teacher teacher.safetensors --speeds speeds.jsonl"
    python -m benchmarks.fixed_time $F                                    the speeds
    python -m benchmarks.fixed_time $F --data FOLDER --out rows.jsonl     the students
    python -m benchmarks.fixed_time --table rows.jsonl

The first wants an idle machine: it times rounds of all methods and loops, in turns. The second
trains as many rounds as fit the seconds at that speed, with the whole schedule of the learning rate
in them, however fast it goes itself; so it may run beside other load, with fewer threads, and in
pieces: what rows.jsonl has already of that very teacher, by its bytes, is not run again. FOLDER
has test/CLASS/*; its images are looked at once, when a student is done, and choose nothing. The
plain loop is `benchmarks/plain_loop.py`, with the settings of its method and the same schedule.
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
from benchmarks.rounds import warm
from benchmarks.short_runs import monitor_of, trainer_of
from pipeline import machine
from pipeline.cache.keys import file_sha256
from pipeline.settings import Distill
from stages import image_bank
from stages.distill.batch_norm import untracked
from stages.distill.trainer import DistillTrainer
from stages.networks import card as cards
from stages.networks import weights
from stages.networks.card import Card

ROOT = Path(__file__).parent.parent
_COMMON = {"rounds": 1_000_000, "generator_width": 64, "noise_dim": 256}
_REUSED = {"student_steps": 5, "draw_every": 5, "student_learning_rate": 0.1}
_SHORT_STEPS = {
    "student_steps": 20,
    "generator_learning_rate": 2e-3,
    "augment": "shift-flip",
}
_MADPIPE = {
    "method": "madpipe",
    "student_batch_size": 64,
    "colour_jitter": 0.4,
    **_SHORT_STEPS,
}
RUNS: Mapping[str, dict[str, Any]] = {
    "madpipe": _MADPIPE,
    "madpipe, colours kept": {**_MADPIPE, "colour_jitter": 0.0},
    "madpipe, random start": {**_MADPIPE, "student_start": "random"},
    "mad": {"method": "mad", **_REUSED},
    "mad, madpipe's loss and rates": {
        "method": "mad",
        "loss": "kl",
        "temperature": 4.0,
        "adversarial_loss": "l1",
        **_SHORT_STEPS,
        "student_learning_rate": 0.5,
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
_REPEATS = 5
_BANK_IMAGES = 512
_TURN_S = 2.0
_DIGITS = 8
"""Of a teacher's digest, in the table."""
_Loop = DistillTrainer | PlainLoop


def main() -> None:
    """Read the command line, and time, train or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--speeds", type=Path, help="seconds of a round, measured where absent")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--run", action="append", choices=tuple(RUNS))
    parser.add_argument("--loop", action="append", choices=("madpipe", "plain"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--students", type=Path, help="a folder for students and generators")
    parser.add_argument("--table", type=Path, help="print the table of these rows")
    arguments = parser.parse_args()
    if arguments.table:
        table(rows_of(arguments.table))
        return
    if not (arguments.teacher and arguments.speeds):
        parser.error("--teacher and --speeds are needed")
    chosen = [run for run in RUNS if run in (arguments.run or RUNS)]
    sides = [
        (name, loop)
        for name in chosen
        for loop in ("madpipe", "plain")
        if loop in (arguments.loop or ("madpipe", "plain" if name in PLAIN else "madpipe"))
    ]
    if not (arguments.out and arguments.data):
        measure_speeds(arguments, sides)
        return
    for seed in arguments.seed or range(3):
        for name, loop in sides:
            train_once(arguments, name, loop, seed)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file, none where there is no file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines()]


def add_row(path: Path, row: dict[str, Any]) -> None:
    """Add a row, with the hardware and the versions, to a file and print it."""
    facts = machine.environment(ROOT)
    row |= {fact: facts[fact] for fact in ("cpu", "cores", "torch", "git") if fact in facts}
    row["threads"] = torch.get_num_threads()
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def pair_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the names of teacher and student, as rows have them."""
    return {"teacher": arguments.teacher.name, "student": arguments.student}


def loop_of(
    arguments: argparse.Namespace, name: str, loop: str, *, seed: int, rounds: int
) -> tuple[_Loop, DistillTrainer, Card]:
    """Return a loop at its start, the trainer that has its networks, and the student's card."""
    changes = {"rounds": rounds} | (_PLAIN_SETTINGS if loop == "plain" else {})
    trainer, card = trainer_of(
        arguments, msgspec.convert(_COMMON | RUNS[name] | changes, Distill), seed
    )
    if loop == "madpipe":
        return trainer, trainer, card
    networks = trainer.teacher, trainer.student, trainer.generator
    plain = PlainLoop(*networks, trainer.options, device=trainer.compute.device)
    return plain, trainer, card


def measure_speeds(arguments: argparse.Namespace, sides: list[tuple[str, str]]) -> None:
    """Time rounds of all loops in turns, and add a row for each with the median of a round."""
    loops = {side: loop_of(arguments, *side, seed=0, rounds=1_000_000)[0] for side in sides}
    times: dict[tuple[str, str], list[float]] = {side: [] for side in sides}
    for playing in loops.values():
        warm(playing)
    for number in range(_REPEATS):
        for side in sides if number % 2 == 0 else reversed(sides):
            rounds = max(1, round(_TURN_S / (times[side][0] if times[side] else _TURN_S)))
            begin_s = time.perf_counter()
            for _ in range(rounds):
                loops[side].train_round()
            times[side].append((time.perf_counter() - begin_s) / rounds)
    for (name, loop), seconds in times.items():
        row = {"run": name, "loop": loop, **pair_of(arguments)}
        row |= {"round_s": statistics.median(seconds), "n": _REPEATS}
        add_row(arguments.speeds, row | {"least_s": min(seconds), "most_s": max(seconds)})


def train_once(arguments: argparse.Namespace, name: str, loop: str, seed: int) -> None:
    """Train a student, unless the file has it already, and add its row to the file."""
    side = {"run": name, "loop": loop, **pair_of(arguments)}
    key = side | {"seed": seed, "seconds": arguments.seconds}
    key["teacher_sha256"] = file_sha256(arguments.teacher)
    if any(key.items() <= row.items() for row in rows_of(arguments.out)):
        return
    speeds = [row["round_s"] for row in rows_of(arguments.speeds) if side.items() <= row.items()]
    rounds = max(1, round(arguments.seconds / speeds[-1]))
    trained, trainer, card = loop_of(arguments, name, loop, seed=seed, rounds=rounds)
    begin_s = time.monotonic()
    for _ in range(rounds):
        trained.train_round()
    row = key | {
        "top1": round(100 * monitor_of(arguments, trainer)(), 2),
        "rounds": rounds,
        "student_steps": rounds * trainer.options.student_steps,
        "trained_s": round(time.monotonic() - begin_s, 1),
        "precision": trainer.compute.precision if loop == "madpipe" else "fp32",
    }
    add_row(arguments.out, row)
    if arguments.students:
        save_networks(trainer, cards.metadata(card), arguments.students / f"{name}-{loop}-{seed}")


def save_networks(trainer: DistillTrainer, card: dict[str, str], folder: Path) -> None:
    """Write student, generators and a bank of images, under the names that the stage uses."""
    folder.mkdir(parents=True, exist_ok=True)
    weights.save(folder / "student.safetensors", trainer.student.backbone, card)
    generators = {"generator": trainer.generator, "ema_generator": trainer.ema}
    for name, generator in generators.items():
        weights.save(folder / f"{name}.safetensors", generator, generator.metadata())
    with torch.no_grad(), untracked(*generators.values()):
        batches = [
            generator(*trainer.sampler.sample(_BANK_IMAGES // 2))
            for generator in generators.values()
        ]
    image_bank.save(folder / "bank.npz", torch.cat(batches))


def table(rows: list[dict[str, Any]]) -> None:
    """Print mean and spread of each run and loop."""
    print("| pair | seconds | run | loop | top-1, mean | s.d. | seeds | student steps |")
    print("| --- " * 8 + "|")
    names = ("teacher", "teacher_sha256", "student", "seconds", "run", "loop")
    for key, group in grouped(rows, names):
        tops = [row["top1"] for row in group]
        mean, spread = statistics.mean(tops), ""
        if len(tops) > 1:
            spread = f"{statistics.stdev(tops):.2f}"
        steps = statistics.mean(row["student_steps"] for row in group)
        teacher, digest, student, seconds, run, loop = key
        print(
            f"| {teacher} {digest[:_DIGITS]} to {student} | {seconds:g} | {run} | {loop} "
            f"| {mean:.2f} | {spread} | {len(tops)} | {steps:,.0f} |"
        )


def grouped(
    rows: list[dict[str, Any]], names: tuple[str, ...]
) -> Iterator[tuple[tuple[Any, ...], list[dict[str, Any]]]]:
    """Yield the rows that agree in the named fields, "" where absent, in the order of the first."""

    def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row.get(name, "") for name in names)

    for key in dict.fromkeys(map(key_of, rows)):
        yield key, [row for row in rows if key_of(row) == key]


if __name__ == "__main__":
    main()

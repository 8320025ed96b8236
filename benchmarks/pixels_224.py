r"""What the ways to make images are worth to a teacher of 224 pixels, after so much time.

    python -m benchmarks.pixels_224 speeds --teacher T --speeds speeds.jsonl
    python -m benchmarks.pixels_224 train --teacher T --speeds speeds.jsonl --out rows.jsonl \
        --cifar CIFAR --work WORK --seconds 3600
    python -m benchmarks.pixels_224 table --out rows.jsonl

The first wants an idle machine: it times rounds of all ways, in turns. The second trains as many
rounds as fit the seconds at that speed, whatever else the machine does; a run that is cut off goes
on from its last checkpoint in WORK, and one that rows.jsonl has is not run again. CIFAR has
test/CLASS/*, whose images measure a student once, when it is done. T is of `teacher_224.py`.

Shape legend: N images, B batch, C channel, H W space, K classes.
"""

import argparse
import math
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.fixed_time import RUNS, add_row, grouped, rows_of
from benchmarks.teacher_224 import read, top1
from pipeline.cache.keys import file_sha256
from pipeline.settings import Distill
from stages.distill.distributed.group import Group
from stages.distill.job import Job, build_trainer
from stages.distill.trainer import DistillTrainer
from stages.networks import card as cards
from stages.networks import weights
from stages.networks.card import Card
from stages.training import state_file

_STUDENT = Path(__file__).with_name("resnet10.py")
_COMMON = {**RUNS["madpipe"], "generator_width": 64, "noise_dim": 256}
"""The settings of the preset for photographs."""
WAYS: Mapping[str, dict[str, Any]] = {
    "224": {},
    "112, enlarged": {"enlarge": 2},
    "112, enlarged from 75 %": {"enlarge": 2, "small_rounds": 0.75},
    "112, enlarged from 90 %": {"enlarge": 2, "small_rounds": 0.9},
    "56, enlarged from 75 %": {"enlarge": 4, "small_rounds": 0.75},
    "56, enlarged from 90 %": {"enlarge": 4, "small_rounds": 0.9},
}
_REPEATS = 3
_MANY_ROUNDS = 1_000_000
_CHECKPOINT_S = 120.0


def main() -> None:
    """Read the command line and do what it names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("speeds", "train", "table"))
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--speeds", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--way", action="append", choices=tuple(WAYS))
    parser.add_argument("--limit", type=int, help="test images a class; absent: all")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    ways = arguments.way or tuple(WAYS)
    match arguments.action:
        case "speeds":
            measure_speeds(arguments, ways)
        case "table":
            table(rows_of(arguments.out))
        case _:
            for way in ways:
                train(arguments, way)


def trainer_of(teacher: Path, way: str, rounds: int, seed: int) -> tuple[DistillTrainer, Card]:
    """Return a trainer at its start, and the student's card."""
    job = Job(
        options=msgspec.convert({**_COMMON, **WAYS[way], "rounds": rounds}, Distill),
        seed=seed,
        student_arch=f"{_STUDENT.name}:make",
        teacher_code=None,
        student_code=_STUDENT,
    )
    return build_trainer(job, teacher, Group())


def measure_speeds(arguments: argparse.Namespace, ways: tuple[str, ...]) -> None:
    """Time rounds of all ways in turns, and add a row for each with the medians.

    Rounds of small images and of large ones are timed apart; each begins with one that warms up.
    """
    trainers = {way: trainer_of(arguments.teacher, way, _MANY_ROUNDS, 0)[0] for way in ways}
    times_s: dict[tuple[str, bool], list[float]] = {}
    for repeat in range(_REPEATS + 1):
        for way, trainer in trainers.items():
            for is_small in (True, False) if trainer.scale.small_rounds else (False,):
                trainer.round = 0 if is_small else trainer.scale.small_rounds
                begin_s = time.perf_counter()
                trainer.train_round()
                if repeat:
                    seconds = time.perf_counter() - begin_s
                    times_s.setdefault((way, is_small), []).append(seconds)
    for way in ways:
        row = {"way": way, "teacher": arguments.teacher.name, "n": _REPEATS}
        large_s = statistics.median(times_s[way, False])
        small_s = statistics.median(times_s.get((way, True), [large_s]))
        share = WAYS[way].get("small_rounds", 0.0)
        row |= {"small_s": small_s, "large_s": large_s}
        add_row(arguments.speeds, row | {"round_s": share * small_s + (1 - share) * large_s})


def train(arguments: argparse.Namespace, way: str) -> None:
    """Train a student, unless the file has it already, and add its row to the file."""
    key = {"way": way, "seed": arguments.seed, "seconds": arguments.seconds}
    key["teacher_sha256"] = file_sha256(arguments.teacher)
    if any(key.items() <= row.items() for row in rows_of(arguments.out)):
        return
    speeds = [row for row in rows_of(arguments.speeds) if row["way"] == way]
    rounds = max(1, math.floor(arguments.seconds / speeds[-1]["round_s"]))
    trainer, card = trainer_of(arguments.teacher, way, rounds, arguments.seed)
    name = f"{way}-{arguments.seconds:g}-{arguments.seed}".replace(" ", "_").replace("%", "")
    checkpoint = arguments.work / f"{name}.checkpoint"
    arguments.work.mkdir(parents=True, exist_ok=True)
    if checkpoint.is_file():
        trainer.restore(state_file.load(checkpoint))
    begin_s = saved_s = time.monotonic()
    first = trainer.round
    while trainer.round < rounds:
        trainer.train_round()
        if time.monotonic() - saved_s > _CHECKPOINT_S:
            state_file.save(checkpoint.with_suffix(".new"), trainer.state())
            checkpoint.with_suffix(".new").replace(checkpoint)
            saved_s = time.monotonic()
            print(f"{name}: {trainer.round}/{rounds} rounds", flush=True)
    row = key | {"rounds": rounds, "student_steps": rounds * trainer.options.student_steps}
    if not first:
        row["trained_s"] = round(time.monotonic() - begin_s, 1)
    x_NCHW, y_N = read(arguments.cifar / "test", arguments.limit)
    row |= {"images": len(y_N)}
    for network in ("teacher", "student"):
        classifier = getattr(trainer, network)
        row[f"{network}_top1"] = round(top1(classifier, x_NCHW, y_N, card.image_size_px), 2)
    weights.save(
        arguments.work / f"{name}.safetensors", trainer.student.backbone, cards.metadata(card)
    )
    add_row(arguments.out, row)
    checkpoint.unlink(missing_ok=True)


def table(rows: list[dict[str, Any]]) -> None:
    """Print the top-1 of each way."""
    print("| images | seconds | top-1, mean | single (seeds) | rounds | student steps |")
    print("| --- " * 6 + "|")
    for (way, seconds), group in grouped(rows, ("way", "seconds")):
        tops = [row["student_top1"] for row in group]
        seeds = ", ".join(str(row["seed"]) for row in group)
        single = ", ".join(f"{top:.2f}" for top in tops)
        last = group[-1]
        print(
            f"| {way} | {seconds:g} | {statistics.mean(tops):.2f} | {single} ({seeds}) "
            f"| {last['rounds']} | {last['student_steps']:,} |"
        )


if __name__ == "__main__":
    main()

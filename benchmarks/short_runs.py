"""Short distillations of one teacher with several settings, each for so many seconds.

    python -m benchmarks.short_runs --teacher teacher.safetensors --data FOLDER --seconds 90 \
        --run "" --run "batch_size=128" --out FOLDER

A run takes as many rounds as fit its seconds at the speed that it is measured to have, with the
whole schedule of the learning rate in them, and follows the student's top-1 on FOLDER/test. What
it prints is one JSON line for each window and one for the run; --profile prints first where the
time of a round goes, by kernel. A run that fails leaves the later ones to run, and 1 as exit code.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch

from benchmarks.plain_loop import PlainLoop
from benchmarks.rounds import alone, calls_of, kernels, timed, waited, warm
from pipeline.config.presets import PRESETS
from pipeline.settings import Data, Distill
from stages.distill import collapse
from stages.distill.distributed.group import Group
from stages.distill.job import Job, build_trainer
from stages.distill.metrics import run_metrics
from stages.distill.monitor import open_monitor
from stages.distill.trainer import DistillTrainer
from stages.networks import card as cards
from stages.networks import weights
from stages.networks.card import Card

_TIMED_ROUNDS = 10


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--student", default="resnet18")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--run", action="append", default=[], metavar="KEY=VALUE,KEY=VALUE")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    runs = arguments.run or [""]
    ended: list[str] = []
    for number, text in enumerate(runs):
        with alone(text):
            short_run(arguments, number, text)
            ended.append(text)
    sys.exit(len(ended) < len(runs))


def short_run(arguments: argparse.Namespace, number: int, text: str) -> None:
    """Train a student with the settings of `text` and save it; the first run may be profiled."""
    begin_s = time.monotonic()
    options = with_changes(PRESETS["cifar10"].distill, text)
    trainer, card, monitor = prepare(arguments, options)
    round_s = round_seconds(trainer)
    emit(run=text, event="ready", seconds=time.monotonic() - begin_s, round_s=round_s)
    if arguments.profile and number == 0:
        calls = calls_of(trainer).items()
        phases_s = {name: timed(call, _TIMED_ROUNDS)[0] for name, call in calls}
        fields = {f"{name.replace(' ', '_')}_s": s for name, s in phases_s.items()}
        emit(run=text, event="phases", **fields)
        if torch.cuda.is_available():
            kernels(trainer)
    train(trainer, monitor, max(1, int(arguments.seconds / round_s)), text)
    path = arguments.out / f"student{number}.safetensors"
    weights.save(path, trainer.student.backbone, cards.metadata(card))


def with_changes(options: Distill, text: str) -> Distill:
    """Return the settings with those of `text` in place of their own."""
    changes = dict(pair.split("=") for pair in text.split(",") if pair)
    plain = msgspec.to_builtins(options) | changes
    return msgspec.convert(plain, Distill, strict=False)


def prepare(
    arguments: argparse.Namespace, options: Distill
) -> tuple[DistillTrainer, Card, Callable[[], float]]:
    """Return a trainer at its start, the student's card, and the call that measures its student."""
    trainer, card = trainer_of(arguments, options)
    return trainer, card, monitor_of(arguments, trainer)


def trainer_of(
    arguments: argparse.Namespace, options: Distill, seed: int = 0
) -> tuple[DistillTrainer, Card]:
    """Return a trainer at its start and the student's card."""
    job = Job(
        options=options,
        seed=seed,
        student_arch=arguments.student,
        teacher_code=None,
        student_code=None,
    )
    return build_trainer(job, arguments.teacher, Group())


def monitor_of(arguments: argparse.Namespace, trainer: DistillTrainer) -> Callable[[], float]:
    """Return the call that measures a trainer's student on the images of the folder."""
    card = cards.read(arguments.teacher)
    assert card is not None
    data = Data(source="folder", root=".", image_size_px=card.image_size_px)
    data = msgspec.structs.replace(data, mean=card.mean, std=card.std)
    return open_monitor(data, arguments.data, card, trainer.student, trainer.compute.device)


def round_seconds(trainer: DistillTrainer | PlainLoop) -> float:
    """Return the mean seconds of a round, after those that compile."""
    warm(trainer)

    def rounds() -> None:
        for _ in range(_TIMED_ROUNDS):
            trainer.train_round()

    return waited(rounds) / _TIMED_ROUNDS


def train(trainer: DistillTrainer, monitor: Callable[[], float], rounds: int, name: str) -> None:
    """Train for so many rounds from where the trainer is, and emit the curves."""
    trainer.options, trainer.last_round = (
        msgspec.structs.replace(trainer.options, rounds=rounds),
        rounds,
    )
    trainer.round, trainer.windows = 0, []
    every = max(1, rounds // 10)
    begin_s = time.monotonic()
    for number in range(1, rounds + 1):
        trainer.train_round()
        if trainer.window_is_full:
            is_tenth = number % every < trainer.window_rounds or number == rounds
            top1 = monitor() if is_tenth else None
            window = trainer.close_window(top1)
            collapse.check(trainer.windows, trainer.metrics.classes_K.numel(), rounds)
            if is_tenth:
                at = {"seconds": time.monotonic() - begin_s}
                emit(run=name, event="window", **at, **msgspec.to_builtins(window))
    figures = {"rounds": rounds, "seconds": time.monotonic() - begin_s}
    figures |= {"student_steps": rounds * trainer.options.student_steps}
    emit(run=name, event="done", **figures, **run_metrics(trainer.windows))


def emit(**fields: Any) -> None:
    """Print a line of JSON."""
    print(json.dumps(dict(rounded(fields))), flush=True)


def rounded(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields with five digits after the point."""
    for name, value in fields.items():
        yield name, round(value, 5) if isinstance(value, float) else value


if __name__ == "__main__":
    main()

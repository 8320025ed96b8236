"""Short distillations of one teacher with several settings, each for so many seconds.

    python -m benchmarks.short_runs --teacher teacher.safetensors --data FOLDER --seconds 90 \
        --run "" --run "batch_size=128" --out FOLDER

A run takes as many rounds as fit its seconds at the speed that it is measured to have, with the
whole schedule of the learning rate in them, and follows the student's top-1 on FOLDER/test. What
it prints is one JSON line for each window and one for the run; --profile prints first where the
time of a round goes, by kernel.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.profiler import ProfilerActivity, profile

from models.generator import Generator
from pipeline.config.presets import PRESETS
from pipeline.settings import Data, Distill
from stages.distill import collapse
from stages.distill.metrics import run_metrics
from stages.distill.monitor import open_monitor
from stages.distill.trainer import DistillTrainer
from stages.networks import factory, weights
from stages.training import device as devices

_WARM_ROUNDS = 3
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
    for number, text in enumerate(arguments.run or [""]):
        begin_s = time.monotonic()
        options = with_changes(PRESETS["cifar10"].distill, text)
        trainer, monitor = prepare(arguments, options)
        round_s = timed_rounds(trainer)
        emit(run=text, event="ready", seconds=time.monotonic() - begin_s, round_s=round_s)
        if arguments.profile and number == 0:
            emit(run=text, event="phases", **phases_ms(trainer))
            print(kernels(trainer), flush=True)
        train(trainer, monitor, max(1, int(arguments.seconds / round_s)), text)
        path = arguments.out / f"student{number}.safetensors"
        weights.save(path, trainer.student.backbone, {})


def with_changes(options: Distill, text: str) -> Distill:
    """Return the settings with those of `text` in place of their own."""
    changes = dict(pair.split("=") for pair in text.split(",") if pair)
    plain = msgspec.to_builtins(options) | changes
    return msgspec.convert(plain, Distill, strict=False)


def prepare(
    arguments: argparse.Namespace, options: Distill
) -> tuple[DistillTrainer, Callable[[], float]]:
    """Return a trainer at its start and the call that measures its student."""
    teacher, card = factory.load(arguments.teacher, code=None, place="teacher")
    compute = devices.select(options.precision)
    rng = devices.seeded(0, "distill", compute.device)
    student_card = msgspec.structs.replace(card, arch=arguments.student)
    student = factory.build(student_card, code=None, place="student")
    generator = Generator(
        noise_dim=options.noise_dim,
        image_size_px=card.image_size_px,
        channels=card.channels,
        width=options.generator_width,
    )
    trainer = DistillTrainer(
        teacher=teacher,
        student=student,
        generator=generator,
        options=options,
        compute=compute,
        rng=rng,
    )
    data = Data(source="folder", root=".", image_size_px=card.image_size_px)
    data = msgspec.structs.replace(data, mean=card.mean, std=card.std)
    return trainer, open_monitor(data, arguments.data, card, trainer.student, compute.device)


def timed_rounds(trainer: DistillTrainer) -> float:
    """Return the seconds of a round, after those that compile."""
    for _ in range(_WARM_ROUNDS):
        trainer.train_round()
    return seconds(trainer.train_round, _TIMED_ROUNDS)


def seconds(call: Callable[[], object], times: int) -> float:
    """Return the mean seconds of a call, with the device idle before and after all of them."""
    synchronize()
    begin_s = time.perf_counter()
    for _ in range(times):
        call()
    synchronize()
    return (time.perf_counter() - begin_s) / times


def synchronize() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def phases_ms(trainer: DistillTrainer) -> dict[str, float]:
    """Return the milliseconds of each phase of a round."""
    batches = [trainer.sample_batch()]
    calls: dict[str, Callable[[], object]] = {
        "generator_step_ms": trainer.generator_step,
        "draw_ms": trainer.sample_batch,
        "student_step_ms": lambda: trainer.student_step(0, batches),
    }
    return {name: 1000 * seconds(call, _TIMED_ROUNDS) for name, call in calls.items()}


def kernels(trainer: DistillTrainer) -> str:
    """Return a table of the kernels that take most of a round."""
    activities = [ProfilerActivity.CPU]
    activities += [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    with profile(activities=activities) as profiler:
        trainer.train_round()
        synchronize()
    order = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    averages = profiler.key_averages()
    return str(averages.table(sort_by=order, row_limit=40, max_name_column_width=80))


def train(trainer: DistillTrainer, monitor: Callable[[], float], rounds: int, name: str) -> None:
    """Train for so many rounds from where the trainer is, and emit the curves."""
    trainer.options = msgspec.structs.replace(trainer.options, rounds=rounds)
    trainer.round, trainer.windows = 0, []
    every = max(1, rounds // 10)
    begin_s = time.monotonic()
    for number in range(1, rounds + 1):
        trainer.train_round()
        if trainer.window_is_full:
            is_tenth = number % every < trainer.window_rounds or number == rounds
            top1 = measured(trainer, monitor) if is_tenth else None
            window = trainer.close_window(top1)
            collapse.check(trainer.windows, trainer.metrics.classes_K.numel())
            if is_tenth:
                at = {"seconds": time.monotonic() - begin_s}
                emit(run=name, event="window", **at, **msgspec.to_builtins(window))
    figures = {"rounds": rounds, "seconds": time.monotonic() - begin_s}
    figures |= {"student_steps": rounds * trainer.options.student_steps}
    emit(run=name, event="done", **figures, **run_metrics(trainer.windows))


def measured(trainer: DistillTrainer, monitor: Callable[[], float]) -> float:
    """Return the student's top-1."""
    with trainer.compute.eager():
        return monitor()


def emit(**fields: Any) -> None:
    """Print a line of JSON."""
    print(json.dumps(dict(rounded(fields))), flush=True)


def rounded(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields with five digits after the point."""
    for name, value in fields.items():
        yield name, round(value, 5) if isinstance(value, float) else value


if __name__ == "__main__":
    main()

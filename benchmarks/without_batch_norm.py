"""Students of teachers without BatchNorm on the digits: a GroupNorm ResNet and a small ViT.

    python -m benchmarks.without_batch_norm teachers --work FOLDER
    python -m benchmarks.without_batch_norm choose --work FOLDER --out choices.jsonl
    python -m benchmarks.without_batch_norm report --work FOLDER --out rows.jsonl
    python -m benchmarks.without_batch_norm table rows.jsonl

`teachers` trains the networks of `normless_networks.py` on the 1,257 training images. `choose`
drives the trainer for a part of the rounds with several priors and looks at the student's top-1 on
those same training images; its seeds are not those reported. `report` calls `madpipe run distill`
with the shipped settings and reads the top-1 of teacher and student on the 540 held-out images out
of its report. All may be stopped: what is in a file already is not run again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch.nn import functional

from benchmarks import normless_networks
from benchmarks.fixed_time import add_row, rows_of
from pipeline.settings import Data, Distill
from stages.data import images
from stages.data.images import Images
from stages.distill import collapse
from stages.distill.distributed.group import Group
from stages.distill.job import Job, build_trainer
from stages.networks import card as cards
from stages.networks import weights
from stages.networks.card import Card
from stages.networks.predict import predict_torch, top1_accuracy
from stages.training import augment

ROOT = Path(__file__).parent.parent
NETWORKS = Path(normless_networks.__file__)
KINDS = ("group_norm", "transformer")
SEEDS = (0, 1, 2)
"""Of teachers and students that are reported."""
CHOICE_SEEDS = (10,)
CHOICE_ROUNDS = 200
_EPOCHS: Mapping[str, int] = {"group_norm": 40, "transformer": 60}
_BATCH = 64
_CHOICES: Mapping[str, dict[str, Any]] = {
    "none": {"noise_batches": 0},
    "total variation 1": {"noise_batches": 0, "total_variation_weight": 1.0},
    "l2 0.1": {"noise_batches": 0, "l2_weight": 0.1},
    "colour 1": {"noise_batches": 0, "colour_weight": 1.0},
    "features 1": {"noise_batches": 0, "feature_weight": 1.0},
    "sum of scales": {"noise_batches": 0, "generator_scales": "sum"},
    "enlarged": {"noise_batches": 0, "enlarge": 2},
    "noise 1": {"noise_batches": 1},
    "noise 2": {"noise_batches": 2},
    "noise 4": {"noise_batches": 4},
    "noise 8": {"noise_batches": 8},
    "noise 4, adversarial 0.2": {"noise_batches": 4, "adversarial_weight": 0.2},
    "noise 4, one-hot 0": {"noise_batches": 4, "one_hot_weight": 0.0},
    "noise 4, 10 student steps": {"noise_batches": 4, "student_steps": 10},
    "noise 4, colour 1": {"noise_batches": 4, "colour_weight": 1.0},
    "noise 4, features 1": {"noise_batches": 4, "feature_weight": 1.0},
    "noise 4, sum of scales": {"noise_batches": 4, "generator_scales": "sum"},
}
_REPORTS: Mapping[str, tuple[dict[str, Any], str]] = {
    "default": ({}, "resnet8"),
    "nothing instead": ({"noise_batches": 0}, "resnet8"),
    "default, own kind": ({}, "own"),
    "20 student steps of 64": ({"student_steps": 20, "student_batch_size": 64}, "resnet8"),
}


def main() -> None:
    """Read the command line, and train, choose, report or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("teachers", "choose", "report"):
        command = commands.add_parser(name)
        command.add_argument("--work", type=Path, required=True)
        command.add_argument("--kind", action="append", choices=KINDS)
        command.add_argument("--seed", action="append", type=int)
        command.add_argument("--run", action="append")
        command.add_argument("--out", type=Path)
        command.add_argument("--rounds", type=int, default=CHOICE_ROUNDS)
    commands.add_parser("table").add_argument("rows", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "table":
        table(rows_of(arguments.rows))
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seed or (CHOICE_SEEDS if arguments.command == "choose" else SEEDS):
        for kind in arguments.kind or KINDS:
            teacher = arguments.work / f"{kind}-{seed}.pt"
            if not teacher.is_file():
                train_teacher(kind, seed, teacher)
            if arguments.command == "choose":
                choose(arguments, kind, seed, teacher)
            elif arguments.command == "report":
                report(arguments, kind, seed, teacher)


def missing(arguments: argparse.Namespace, runs: Mapping[str, Any], **key: Any) -> Iterator[str]:
    """Yield the names of runs that have no row yet."""
    for name in arguments.run or runs:
        wanted = key | {"run": name}
        rows = rows_of(arguments.out)
        if not any(wanted.items() <= row.items() for row in rows):
            yield name


def digits() -> tuple[Images, Data]:
    """Return the training images of the digits, and the settings that name them."""
    return images.load(Data(), None).train, Data()


def train_teacher(kind: str, seed: int, path: Path) -> None:
    """Train a network by AdamW and save it as a plain torch checkpoint."""
    torch.manual_seed(seed)
    train, _ = digits()
    network, card = getattr(normless_networks, kind)(), _card(kind)
    rng = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    steps = _EPOCHS[kind] * (len(train) // _BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.2)
    mean, std = torch.tensor(card.mean), torch.tensor(card.std)
    for _ in range(_EPOCHS[kind]):
        order_N = torch.randperm(len(train), generator=rng)
        for first in range(0, len(train) - _BATCH + 1, _BATCH):
            indices_B = order_N[first : first + _BATCH]
            x_BCHW = train.batch(indices_B, torch.device("cpu"))
            x_BCHW = augment.random_shift(x_BCHW, augment.crop_offsets(len(x_BCHW), 8, rng))
            logits_BK = network((x_BCHW - mean) / std)
            loss = functional.cross_entropy(logits_BK, train.y_N[indices_B])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            cycle.step()
    torch.save({"state_dict": network.state_dict()}, path)


def _card(kind: str) -> Card:
    data = images.load(Data(), None)
    return Card(
        arch=f"{NETWORKS}:{kind}",
        channels=1,
        image_size_px=8,
        mean=(0.3053,),
        std=(0.3761,),
        classes=data.train.classes,
    )


def choose(arguments: argparse.Namespace, kind: str, seed: int, teacher: Path) -> None:
    """Train students with several priors and look at them on the teacher's training images."""
    torch.set_num_threads(1)
    card, train = _card(kind), digits()[0]
    tensors = torch.load(teacher, weights_only=True)["state_dict"]
    network = getattr(normless_networks, kind)()
    network.load_state_dict(tensors)
    file = teacher.with_suffix(".safetensors")
    weights.save(file, network, cards.metadata(card))
    rounds = arguments.rounds
    key = {"kind": kind, "seed": seed, "rounds": rounds}
    for name in missing(arguments, _CHOICES, **key):
        options = msgspec.convert({"rounds": rounds, "precision": "fp32"} | _CHOICES[name], Distill)
        job = Job(options=options, seed=seed + 10, student_arch="resnet8",
                  teacher_code=NETWORKS, student_code=None)  # fmt: skip
        trainer, _ = build_trainer(job, file, Group())
        begin_s = time.monotonic()
        trainer.run()
        collapse.check(trainer.windows, card.num_classes, rounds)
        device = trainer.compute.device
        top1 = {
            part: float(top1_accuracy(predict_torch(part_network, train, device), train.y_N))
            for part, part_network in (("student", trainer.student), ("teacher", trainer.teacher))
        }
        seconds = time.monotonic() - begin_s
        add_row(arguments.out, key | {"run": name, "seconds": round(seconds, 1)} | top1)


def report(arguments: argparse.Namespace, kind: str, seed: int, teacher: Path) -> None:
    """Run `madpipe run distill` with a teacher and read its report."""
    for name in missing(arguments, _REPORTS, kind=kind, seed=seed):
        changes, student = _REPORTS[name]
        student = f"{NETWORKS}:{kind}_student" if student == "own" else student
        folder = arguments.work / f"{kind}-{seed}-{name.replace(' ', '-').replace(',', '')}"
        folder.mkdir(exist_ok=True)
        settings = {
            "seed": seed,
            "teacher.arch": f"{NETWORKS}:{kind}",
            "teacher.weights": os.path.relpath(teacher, folder),
            "student.arch": student,
            "distill.monitor": "held-out",
            "distill.precision": "fp32",
        } | {f"distill.{key}": value for key, value in changes.items()}
        sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        (folder / "pipeline.toml").write_bytes((ROOT / "pipeline.toml").read_bytes())
        madpipe = str(Path(sys.executable).with_name("madpipe"))
        done = subprocess.run(
            [madpipe, "run", "distill", *sets], cwd=folder, capture_output=True, text=True,
            check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        row: dict[str, Any] = {"kind": kind, "seed": seed, "run": name}
        if done.returncode:
            row["failure"] = done.stderr.strip().splitlines()[-1][-300:]
        else:
            output = subprocess.run(
                [madpipe, "report", "--format", "json"], cwd=folder, capture_output=True, check=True
            )
            stages = {stage["name"]: stage for stage in json.loads(output.stdout)["stages"]}
            figures = stages["distill"]["metrics"]
            row |= {
                "teacher": stages["teacher"]["metrics"]["top1"],
                "student": figures["monitor_top1_last"],
                "seconds": round(stages["distill"]["seconds"], 1),
                "precision": figures["precision"],
            }
        add_row(arguments.out, row)


def table(rows: list[dict[str, Any]]) -> None:
    """Print the rows as Markdown: the mean of the seeds of each run, in percent and points."""
    print("| teacher | run | teacher's top-1 | student's top-1 | drop | of each seed | n |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind, name in dict.fromkeys((row["kind"], row["run"]) for row in rows):
        runs = [row for row in rows if (row["kind"], row["run"]) == (kind, name)]
        whole = [row for row in runs if "student" in row]
        drops = [100 * (row["teacher"] - row["student"]) for row in whole]
        cells = [
            f"{100 * np.mean([row[side] for row in whole]):.2f}" if whole else "failed"
            for side in ("teacher", "student")
        ]
        mean = f"{statistics.fmean(drops):.2f}" if drops else ""
        of_seeds = ", ".join(f"{drop:.2f}" for drop in drops)
        print(
            f"| {kind} | {name} | {' | '.join(cells)} | {mean} | {of_seeds} "
            f"| {len(whole)} of {len(runs)} |"
        )


if __name__ == "__main__":
    main()

"""What unlabelled images are worth at a fixed number of rounds: none, in-domain, unrelated ones.

    python -m benchmarks.unlabelled_images prepare --cifar CIFAR --out WORK
    madpipe run teacher --set data.root=WORK/cifar ...     (the page of the figures has the command)
    python -m benchmarks.unlabelled_images train --work WORK --teacher T --out rows.jsonl
    python -m benchmarks.unlabelled_images calibrate --work WORK --out int8.jsonl
    python -m benchmarks.unlabelled_images table --out rows.jsonl

CIFAR has train/CLASS/* and test/CLASS/*. The first 4,000 training images of each class are for the
teacher; the next 500 are the in-domain ones, which it never saw. The unrelated ones are the digits
of scikit-learn, enlarged to 32 pixels, in random colours. All images of test/ measure a student
once, when it is done, and choose nothing. What rows.jsonl has already of that very teacher is not
run again, so a campaign goes on where it was stopped.

Shape legend: N images, C channel, H W space.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.fixed_time import RUNS, add_row, grouped, rows_of
from pipeline.cache.keys import file_sha256
from pipeline.settings import Build, Data, Distill, Export
from stages import image_bank
from stages.build.stage import build
from stages.data import images as datasets
from stages.distill.batch_norm import untracked
from stages.distill.distributed.group import Group
from stages.distill.job import Job, build_trainer
from stages.distill.trainer import DistillTrainer
from stages.engines.base import BACKENDS
from stages.engines.open_engine import open_engine
from stages.engines.ort import OrtSession
from stages.export.stage import export
from stages.networks import card as cards
from stages.networks import factory, predict, weights
from stages.onnxgraph.calibration_images import BANK

_TEACHERS, _IN_DOMAIN = 4000, 500
"""Images of each class."""
_UNRELATED = 5000
_SIZE_PX = 32
_DIGIT_MAX = 16
_BANK_IMAGES = 512
SETS = {"none": None, "in-domain": "in_domain", "unrelated": "unrelated"}
_COMMON = {**RUNS["madpipe"], "generator_width": 64, "noise_dim": 256}
"""The settings of the preset for photographs, chosen without unlabelled images."""


def main() -> None:
    """Read the command line and do what it names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("prepare", "train", "calibrate", "table"))
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--set", dest="sets", action="append", choices=tuple(SETS))
    parser.add_argument("--lambda2", type=float, action="append")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    match arguments.action:
        case "prepare":
            prepare(arguments.cifar.resolve(), arguments.out)
        case "table":
            table(rows_of(arguments.out))
        case "calibrate":
            for folder in sorted((arguments.work / "students").iterdir()):
                calibrate(folder, arguments.work, arguments.out)
        case _:
            for seed, name in itertools.product(arguments.seed or (0,), arguments.sets or SETS):
                for lambda2 in arguments.lambda2 or (1.0,) if SETS[name] else (None,):
                    train(arguments, name, seed, lambda2)


def prepare(cifar: Path, work: Path) -> None:
    """Lay out the teacher's images, those held out, and both sets of unlabelled ones."""
    (work / "in_domain").mkdir(parents=True)
    for folder in sorted((cifar / "train").iterdir()):
        paths = sorted(folder.iterdir())
        own = work / "cifar" / "train" / folder.name
        own.mkdir(parents=True)
        for path in paths[:_TEACHERS]:
            (own / path.name).symlink_to(path)
        for path in paths[_TEACHERS : _TEACHERS + _IN_DOMAIN]:
            (work / "in_domain" / f"{folder.name}-{path.name}").symlink_to(path)
    (work / "cifar" / "test").symlink_to(cifar / "test")
    (work / "unrelated").mkdir()
    for number, image in enumerate(coloured_digits()):
        image.save(work / "unrelated" / f"{number:04}.png")


def coloured_digits() -> Iterator[Image.Image]:
    """Yield handwritten digits of 32 pixels, each in two random colours."""
    rng = np.random.default_rng(0)
    digits = load_digits().images
    for number in range(_UNRELATED):
        levels = (digits[number % len(digits)] * 255 / _DIGIT_MAX).astype(np.uint8)
        enlarged = Image.fromarray(levels).resize((_SIZE_PX, _SIZE_PX), Image.Resampling.BICUBIC)
        ink_HW1 = np.asarray(enlarged, np.float32)[..., None] / 255
        paper_C, pen_C = rng.uniform(0, 255, (2, 3)).astype(np.float32)
        yield Image.fromarray(np.rint(paper_C + ink_HW1 * (pen_C - paper_C)).astype(np.uint8))


def train(arguments: argparse.Namespace, name: str, seed: int, lambda2: float | None) -> None:
    """Train a student, unless the file has it already, and add its row to the file."""
    key = {"set": name, "seed": seed, "rounds": arguments.rounds, "student": arguments.student}
    key |= {"teacher_sha256": file_sha256(arguments.teacher)}
    key |= {} if lambda2 is None else {"lambda2": lambda2}
    if any(key.items() <= row.items() for row in rows_of(arguments.out)):
        return
    subfolder = SETS[name]
    folder = arguments.work / subfolder if subfolder else None
    images = str(folder) if folder else None
    options = {**_COMMON, "rounds": arguments.rounds, "images": images, "lambda2": lambda2}
    job = Job(
        options=msgspec.convert(options, Distill),
        seed=seed,
        student_arch=arguments.student,
        teacher_code=None,
        student_code=None,
        images=folder,
    )
    trainer, card = build_trainer(job, arguments.teacher, Group())
    begin_s = time.monotonic()
    for _ in range(arguments.rounds):
        trainer.train_round()
    row = key | {"trained_s": round(time.monotonic() - begin_s, 1)}
    data = Data(source="cifar10", root=".")
    held_out = datasets.load(data, arguments.work / "cifar").held_out
    device = trainer.compute.device
    for network in ("teacher", "student"):
        logits_NK = predict.predict_torch(getattr(trainer, network), held_out, device)
        row[f"{network}_top1"] = round(100 * predict.top1_accuracy(logits_NK, held_out.y_N), 2)
    if trainer.unlabelled is not None:
        row |= msgspec.to_builtins(trainer.unlabelled.images.use)
        row["images_agreement"] = round(100 * agreement(trainer), 2)
    row |= {"n": len(held_out), "step_images": trainer.recipe.step_images}
    row |= {"student_steps": arguments.rounds * trainer.options.student_steps}
    save(trainer, cards.metadata(card), arguments.work / "students" / f"{name}-{lambda2}-{seed}")
    add_row(arguments.out, row | {"precision": trainer.compute.precision})


@torch.no_grad()
def agreement(trainer: DistillTrainer) -> float:
    """Return on which share of the held-back images student and teacher decide alike."""
    assert trainer.unlabelled is not None
    x_NCHW = trainer.unlabelled.images.held_back_NCHW.float() / 255
    student = trainer.student.eval()
    decided = [network(x_NCHW).argmax(dim=1) for network in (trainer.teacher, student)]
    return float((decided[0] == decided[1]).double().mean())


def save(trainer: DistillTrainer, card: dict[str, str], folder: Path) -> None:
    """Write the student, a bank of synthetic images, and the held-back ones where there are any."""
    folder.mkdir(parents=True, exist_ok=True)
    weights.save(folder / "student.safetensors", trainer.student.backbone, card)
    generators = (trainer.generator, trainer.ema)
    with torch.no_grad(), untracked(*generators):
        count = _BANK_IMAGES // 2
        batches = [generator(*trainer.sampler.sample(count)) for generator in generators]
    image_bank.save(folder / "bank.npz", torch.cat(batches))
    if trainer.unlabelled is not None:
        x_NCHW = trainer.unlabelled.images.held_back_NCHW.float() / 255
        image_bank.save(folder / "held_back.npz", x_NCHW)


def calibrate(folder: Path, work: Path, out: Path) -> None:
    """Round a student to int8 with ranges of each kind of image, and add the rows not there yet."""
    digest = file_sha256(folder / "student.safetensors")
    if any(row["student_sha256"] == digest for row in rows_of(out)):
        return
    network, card = factory.load(folder / "student.safetensors", code=None, place="student")
    onnx = folder / "student.onnx"
    bank_NCHW = image_bank.load(folder / "bank.npz", "the bank")
    options = Export()
    opset = BACKENDS["onnxruntime"].opset
    export(
        network, card, onnx,
        options=options, opset=opset, images_NCHW=bank_NCHW, student_sha256=digest,
    )  # fmt: skip
    held_out = datasets.load(Data(source="cifar10", root="."), work / "cifar").held_out
    fp32_NK = predict.predict(OrtSession(onnx).infer, held_out)
    bank, real = folder / "bank.npz", folder / "held_back.npz"
    sources: dict[str, tuple[Path, Path | None]] = {"bank": (bank, None)}
    if real.is_file():
        sources |= {"held back": (real, None), "both, in turns": (bank, real)}
    int8 = Build(backend="onnxruntime", device="cpu", precision="int8", int8="rounded")
    rows: list[dict[str, Any]] = []
    for name, (path, beside) in sources.items():
        engine = folder / "int8.engine"
        manifest, _ = build(
            onnx, engine, folder / "manifest.json", int8,
            calibration_path=path, place=BANK, real_path=beside,
        )  # fmt: skip
        int8_NK = predict.predict(open_engine(manifest, engine, threads=1).infer, held_out)
        right = [
            (x_NK.argmax(axis=1) == held_out.y_N.numpy()).mean() for x_NK in (fp32_NK, int8_NK)
        ]
        row: dict[str, Any] = {"student": folder.name, "student_sha256": digest}
        row |= {"calibration": name, "n": len(held_out)}
        row |= {"fp32_top1": round(100 * right[0], 2), "int8_top1": round(100 * right[1], 2)}
        changed = (fp32_NK.argmax(axis=1) != int8_NK.argmax(axis=1)).mean()
        rows.append(row | {"changed": round(100 * changed, 2)})
    for row in rows:
        add_row(out, row)


def table(rows: list[dict[str, Any]]) -> None:
    """Print mean and spread of each set of images."""
    print("| images | lambda2 | rounds | top-1, mean | s.d. | single (seeds) | agreement | s |")
    print("| --- " * 8 + "|")
    for (name, lambda2, rounds), group in grouped(rows, ("set", "lambda2", "rounds")):
        tops = [row["student_top1"] for row in group]
        spread = f"{statistics.stdev(tops):.2f}" if len(tops) > 1 else ""
        single = ", ".join(f"{row['student_top1']:.2f} ({row['seed']})" for row in group)
        shares = [row["images_agreement"] for row in group if "images_agreement" in row]
        alike = f"{statistics.mean(shares):.1f}" if shares else ""
        seconds = statistics.mean(row["trained_s"] for row in group)
        print(
            f"| {name} | {lambda2} | {rounds} | {statistics.mean(tops):.2f} | {spread} | {single} "
            f"| {alike} | {seconds:.0f} |"
        )


if __name__ == "__main__":
    main()

"""What `gpu.py` brings back of a stage: its figures as JSON, its files as a tar in small parts."""

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
import torch

from models import registry
from pipeline import machine
from pipeline.atomic import write_bytes
from pipeline.events import logged_s
from pipeline.planner import Planned
from pipeline.project import Project
from pipeline.settings import Distill
from stages.distill import methods, metrics
from stages.distill.metrics import Window
from stages.networks import card as cards
from stages.networks import weights
from stages.networks.card import Card
from stages.training import state_file

ROOT = Path(__file__).parent.parent
PART_BYTES = 15 << 20
SMALL_BYTES = 4 << 20
MOST_BYTES = 63 << 20
MOST_FILES = 8
TEACHER = "teacher.safetensors"
_LEFT_OUT = {"generator.safetensors", "ema_generator.safetensors"}
"""Of a finished stage; larger than what they would be good for afterwards."""


class Point(msgspec.Struct, frozen=True):
    """The student's accuracy at one time of a run."""

    round: int
    seconds: float | None
    """Of work since the start; None where the log of events has no such round."""
    top1: float


class Figures(msgspec.Struct, kw_only=True):
    """What is known of a piece, finished or not."""

    piece: str
    is_done: bool
    seconds: float
    """Of the stage in all its sessions; on one GPU these are GPU seconds."""
    gpu_hours: float
    """Of all stages of the piece: with those of a teacher that this machine trained."""
    samples_per_s: float | None = None
    """Images that the student learned from, over all seconds of the stage."""
    teacher_top1: float | None = None
    metrics: dict[str, Any]
    accuracy: list[Point] = []
    settings: Sequence[str]
    environment: dict[str, str]
    parts: list[str] = []
    """Names of the files that hold the tar; empty where they did not fit."""
    sha256: str = ""
    """Of the tar, and so of its parts one after the other."""


class Parcel(msgspec.Struct):
    """Figures of a piece and the files that go with them, by name."""

    figures: Figures
    files: dict[str, bytes]


def teacher_parcel(project: Project, home: Path) -> Parcel | None:
    """Return the trained teacher, and write it to `home` in half precision; None before its end."""
    (item,) = project.plan(["teacher"])
    if item.entry is None:
        return None
    content = halved(item.entry.output("weights"))
    write_bytes(home / TEACHER, content)
    record = item.entry.record
    figures = _figures("teacher", project, record.seconds, record.metrics, is_done=True)
    write_bytes(home / "teacher.json", msgspec.json.encode(figures))
    return Parcel(figures, {TEACHER: content})


def distill_parcel(piece: str, project: Project, home: Path) -> Parcel | None:
    """Return figures, curves and student of a distillation, as far as it is; None at its start."""
    teacher, item = project.plan(["distill"])
    if item.entry is not None:
        folder, seconds = item.entry.path, item.entry.record.seconds
        kept = [path for path in folder.iterdir() if path.name not in _LEFT_OUT]
        files = {path.name: path.read_bytes() for path in kept}
        windows = [
            msgspec.json.decode(line, type=Window) for line in files["curves.jsonl"].splitlines()
        ]
        figures = _figures(piece, project, seconds, item.entry.record.metrics, is_done=True)
    elif item.action == "resume":
        assert item.key is not None
        folder = project.store.work_path("distill", item.key)
        files, windows, rounds = _unfinished(folder, project, home)
        measured = metrics.run_metrics(windows) | {"rounds": rounds}
        measured["student_samples"] = rounds * _round_samples(project.settings.distill)
        seconds = logged_s(folder / "events.jsonl")
        figures = _figures(piece, project, seconds, measured, is_done=False)
    else:
        return None
    if seconds > 0:  # the log of a run that has just begun holds no time yet
        figures.samples_per_s = figures.metrics["student_samples"] / seconds
    figures.teacher_top1 = _top1(teacher)
    if (home / "teacher.json").is_file():
        figures.gpu_hours += read(home / "teacher.json").gpu_hours
    times = _seconds_of_rounds(folder / "events.jsonl")
    figures.accuracy = [
        Point(window.round, times.get(window.round), window.student_top1)
        for window in windows
        if window.student_top1 is not None
    ]
    return Parcel(figures, files)


def _figures(
    piece: str, project: Project, seconds: float, measured: Mapping[str, Any], *, is_done: bool
) -> Figures:
    return Figures(
        piece=piece,
        is_done=is_done,
        seconds=seconds,
        gpu_hours=seconds / 3600,
        metrics=dict(measured),
        settings=project.overrides,
        environment=machine.environment(ROOT),
    )


def _top1(teacher: Planned) -> float | None:
    return teacher.entry.record.metrics.get("top1") if teacher.entry is not None else None


def _round_samples(options: Distill) -> int:
    return methods.recipe(options, 1).student_batch_size * options.student_steps


def _unfinished(
    folder: Path, project: Project, home: Path
) -> tuple[dict[str, bytes], list[Window], int]:
    """Return the files that a checkpoint is good for, its windows and its rounds."""
    saved = state_file.load(folder / "checkpoint" / "state")
    windows = msgspec.convert(saved["windows"], list[Window])
    curves = b"".join(msgspec.json.encode(window) + b"\n" for window in windows)
    card = cards.read(home / TEACHER)
    assert card is not None
    student = {
        name.removeprefix("backbone."): tensor.contiguous()
        for name, tensor in saved["student"].items()
    }
    metadata = cards.metadata(msgspec.structs.replace(card, arch=project.settings.student.arch))
    files = {
        "student.safetensors": safetensors.torch.save(student, metadata),
        "curves.jsonl": curves,
        "events.jsonl": (folder / "events.jsonl").read_bytes(),
    }
    return files, windows, int(saved["round"])


def _seconds_of_rounds(log: Path) -> dict[int, float]:
    """Return after how many seconds of work each round in a log of events was done."""
    seconds: dict[int, float] = {}
    gone_s, begin_s, last_s = 0.0, 0.0, 0.0
    for line in log.read_bytes().splitlines():
        try:
            event = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue  # a kill can cut the last line short
        if event["kind"] == "stage_started":
            gone_s += last_s - begin_s
            begin_s = event["time_s"]
        last_s = event["time_s"]
        if event["kind"] == "progress":
            seconds[event["done"]] = round(gone_s + last_s - begin_s, 2)
    return seconds


def write_random(path: Path, arch: str, images: Path) -> None:
    """Write a network for the classes in a folder of images, with weights that nothing trained."""
    classes = tuple(sorted(folder.name for folder in images.iterdir()))
    network = registry.create(arch, in_channels=3, num_classes=len(classes), code=None)
    card = Card(
        arch=arch,
        channels=3,
        image_size_px=32,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        classes=classes,
    )
    weights.save(path, network, cards.metadata(card))


def halved(path: Path) -> bytes:
    """Return a weights file with its matrices and kernels in half precision, card and all.

    What has one axis stays as it is: a variance of BatchNorm may be beyond what half can hold.
    """
    with safetensors.safe_open(path, "pt") as opened:
        metadata = opened.metadata()
    tensors = {
        name: value.half() if value.dtype == torch.float32 and value.ndim > 1 else value
        for name, value in safetensors.torch.load_file(path).items()
    }
    return safetensors.torch.save(tensors, metadata)


def deliver(parcel: Parcel, out: Path) -> list[str]:
    """Write figures to `out` and the files in parts; return the names of those that do not fit."""
    figures = parcel.figures
    for path in out.glob(f"{figures.piece}.tar.*"):
        path.unlink()
    described = out / f"{figures.piece}.json"
    others = [path for path in out.iterdir() if path.is_file() and path != described]
    size = sum(path.stat().st_size for path in others)
    # Curves and pictures are small; they come with the figures where the weights cannot.
    small = {name: file for name, file in parcel.files.items() if len(file) <= SMALL_BYTES}
    files: dict[str, bytes] = {}
    whole = b""
    for chosen in (parcel.files, small):
        tar = _tar(chosen)
        are_few = len(others) + 1 + -(-len(tar) // PART_BYTES) <= MOST_FILES
        if are_few and size + len(tar) <= MOST_BYTES:
            files, whole = chosen, tar
            break
    count = -(-len(whole) // PART_BYTES)
    figures.parts = [f"{figures.piece}.tar.{number:02}" for number in range(count)]
    figures.sha256 = hashlib.sha256(whole).hexdigest() if whole else ""
    for number, name in enumerate(figures.parts):
        (out / name).write_bytes(whole[number * PART_BYTES : (number + 1) * PART_BYTES])
    write_bytes(described, msgspec.json.format(msgspec.json.encode(figures)))
    return sorted(parcel.files.keys() - files.keys())


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def read(path: Path) -> Figures:
    """Return the figures of a piece from its JSON."""
    return msgspec.json.decode(path.read_bytes(), type=Figures)


def joined(folder: Path, piece: str) -> dict[str, bytes]:
    """Return the files of a piece from its parts in `folder`, by name.

    Raises:
        ValueError: Parts are missing, or are not those that were written.
    """
    described = folder / f"{piece}.json"
    if not described.is_file():
        message = f"{described}: is missing; bring it beside the parts, it holds their digest"
        raise ValueError(message)
    figures = read(described)
    missing = [name for name in figures.parts if not (folder / name).is_file()]
    whole = b"".join((folder / name).read_bytes() for name in figures.parts if name not in missing)
    if not figures.parts or missing or hashlib.sha256(whole).hexdigest() != figures.sha256:
        message = f"{folder}: not the parts of {piece} that were written ({missing or 'digest'})"
        raise ValueError(f"{message}; bring them again")
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        opened = {member.name: archive.extractfile(member) for member in archive}
        return {Path(name).name: file.read() for name, file in opened.items() if file is not None}


def summary(figures: Figures) -> str:
    """Return the figures of a piece as a line."""
    measured = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in figures.metrics.items()
    ]
    rate = f", {figures.samples_per_s:,.0f} samples/s" if figures.samples_per_s else ""
    return f"{figures.piece}: {figures.seconds:.0f} s{rate}, {', '.join(measured)}"


def table(rows: Sequence[Figures]) -> str:
    """Return the figures of distillations as Markdown."""
    lines = [
        "| method | teacher | last | best | mu | sigma^2 | distill s | samples/s | GPU hours |"
    ]
    lines += ["| --- " * 9 + "|"]
    for row in rows:
        measured = row.metrics
        if "monitor_top1_last" not in measured:
            continue
        shares = [
            row.teacher_top1,
            *(measured[f"monitor_top1_{n}"] for n in ("last", "best", "mean")),
        ]
        lines.append(
            f"| {row.piece}{'' if row.is_done else ', not done'} "
            f"| {' | '.join('' if share is None else f'{100 * share:.2f}' for share in shares)} "
            f"| {1e4 * measured['monitor_top1_variance']:.2f} | {row.seconds:.0f} "
            f"| {row.samples_per_s or 0:,.0f} | {row.gpu_hours:.3f} |"
        )
    return "\n".join(lines)

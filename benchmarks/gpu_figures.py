"""What `gpu.py` leaves behind: one table, all figures, logs and the student, in few small files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch

from pipeline import machine

ROOT = Path(__file__).parent.parent
MOST_BYTES = 16 << 20
MOST_FILES = 8
Rows = Mapping[str, Mapping[str, Any]]


def collect(
    out: Path,
    rows: Rows,
    texts: Mapping[str, Path],
    logs: Sequence[Path],
    *,
    is_whole: bool,
) -> None:
    """Write figures, texts and logs and, once all is done, the student in half precision.

    Raises:
        RuntimeError: There are more or larger files than may come back.
    """
    facts = machine.environment(ROOT)
    record = {"environment": facts, "rows": rows, "is_whole": is_whole}
    (out / "figures.json").write_text(json.dumps(record, indent=2, default=str), encoding="utf-8")
    markdown = table(rows, facts)
    parts = [markdown, *(path.read_text("utf-8") for path in texts.values() if path.is_file())]
    (out / "row.md").write_text("\n\n".join(parts), encoding="utf-8")
    tails = [path.read_bytes()[-MOST_BYTES // len(logs) :] for path in logs if path.is_file()]
    (out / "events.jsonl").write_bytes(b"".join(tails))
    print(markdown, flush=True)
    if is_whole:
        split(Path(rows["mad"]["distill"]["path"]) / "student.safetensors", out)
    files = [path for path in out.iterdir() if path.is_file()]
    large = [path.name for path in files if path.stat().st_size > MOST_BYTES]
    if large or len(files) > MOST_FILES:
        message = f"{out}: {len(files)} files, too large are {large}"
        raise RuntimeError(message)


def split(path: Path, out: Path) -> None:
    """Write weights in half precision, in parts that are small enough; `cat` joins them."""
    with safetensors.safe_open(path, "pt") as opened:
        metadata = opened.metadata()
    tensors = {
        name: value.half() if value.is_floating_point() else value
        for name, value in safetensors.torch.load_file(path).items()
    }
    content = safetensors.torch.save(tensors, metadata)
    for number, first in enumerate(range(0, len(content), MOST_BYTES)):
        part = content[first : first + MOST_BYTES]
        (out / f"student-fp16.safetensors.{number}").write_bytes(part)


def table(rows: Rows, facts: Mapping[str, Any]) -> str:
    """Return what is known so far as Markdown."""
    names = ("gpu0", "cpu", "torch", "git")
    lines = [", ".join(f"{name} {facts[name]}" for name in names if name in facts), ""]
    lines += ["| method | teacher | last | best | mu | sigma^2 | distill s | student samples/s |"]
    lines += ["| --- " * 8 + "|"]
    for name, stages in rows.items():
        if "distill" not in stages:
            continue
        metrics, seconds = stages["distill"]["metrics"], stages["distill"]["seconds"]
        top1 = [metrics[f"monitor_top1_{name}"] for name in ("last", "best", "mean")]
        samples = metrics.get("student_samples")
        rate = f"{samples / seconds:,.0f}" if samples else ""
        lines.append(
            f"| {name} | {100 * stages['teacher']['metrics']['top1']:.2f} "
            f"| {' | '.join(f'{100 * share:.2f}' for share in top1)} "
            f"| {1e4 * metrics['monitor_top1_variance']:.2f} | {seconds:.0f} | {rate} |"
        )
    for name, stages in rows.items():
        hours = sum(stage["seconds"] for stage in stages.values()) / 3600
        lines += ["", f"{name}: {hours:.3f} hours in all stages (one GPU: as many GPU hours)."]
    return "\n".join(lines)

"""Files with the labels of images, and lists of classes."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reliability.broken_inputs import hostile, json_files, stored
from benchmarks.reliability.broken_inputs.harness import Broken, Format

_COUNT = 12
_CLASSES = ("cat", "dog", "ox")
_TEACHER = """\
[data]
source = "folder"
root = "images"
image_size_px = 8
labels = "{file}"
{more}
[teacher]
arch = "resnet8"
epochs = 1
batch_size = 12
"""
_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl")
_LARGE = 3_000_000


def _prepare(shared: Path) -> None:
    """Make a folder of images without folders of classes."""
    (shared / "images").mkdir()
    for number in range(_COUNT):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(shared / "images" / f"{number}.png")
    stored.prepare(shared)


def _table(rng: random.Random, suffix: str) -> str:
    """Return labels that are right."""
    pairs = [(f"{number}.png", _CLASSES[number % len(_CLASSES)]) for number in range(_COUNT)]
    if suffix == ".json":
        rows = [{"file": name, "label": label} for name, label in pairs]
        coco = {
            "images": [{"id": i, "file_name": name} for i, (name, _) in enumerate(pairs)],
            "categories": [{"id": i, "name": name} for i, name in enumerate(_CLASSES)],
            "annotations": [{"image_id": i, "category_id": i % 3} for i in range(_COUNT)],
        }
        return json.dumps(rng.choice([rows, dict(pairs), {"labels": dict(pairs)}, coco]))
    if suffix == ".jsonl":
        return "\n".join(json.dumps({"file": name, "label": label}) for name, label in pairs)
    mark = {".csv": ",", ".tsv": "\t"}.get(suffix, " ")
    head = f"file{mark}label{mark}split" if rng.random() < 0.5 else f"file{mark}label"
    parts = [rng.choice(["train", "val"]) for _ in pairs] if "split" in head else [""] * _COUNT
    lines = [
        mark.join(filter(None, (*pair, part))) for pair, part in zip(pairs, parts, strict=True)
    ]
    return "\n".join([*([head] if mark != " " else []), *lines]) + "\n"


def _classes(rng: random.Random, suffix: str) -> str:
    """Return a list of classes that is right."""
    names = [f"digit {number}" for number in range(10)]
    if suffix == ".json":
        by_name = {name: number for number, name in enumerate(names)}
        return json.dumps(rng.choice([names, by_name, {"id2label": dict(enumerate(names))}]))
    if suffix == ".yaml":
        lines = "\n".join(f"  {number}: {name}" for number, name in enumerate(names))
        return rng.choice([f"names:\n{lines}\n", f"names: {names}\n"])
    return "\n".join(names if rng.random() < 0.5 else [f"{i} {n}" for i, n in enumerate(names)])


def _broken(rng: random.Random, text: str) -> tuple[str, bytes]:
    """Return what was done to a table or a list, in words, and its bytes."""
    what = rng.choice([*_BREAKS])
    content = _BREAKS[what](rng, text)
    return what, content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")


def _cell(rng: random.Random, text: str) -> str:
    words = ("cat", "dog", ".png", "1.png", "file", "label", "digit", "3")
    word = rng.choice([word for word in words if word in text] or [text[:1]])
    return text.replace(word, hostile.text(rng), rng.choice([1, 1, 100]))


def _json_change(rng: random.Random, text: str) -> bytes | str:
    try:
        json.loads(text)
    except ValueError:
        return text[::-1]
    return json_files.broken(rng, text.encode())[1]


_BREAKS: dict[str, Callable[[random.Random, str], str | bytes]] = {
    "another cell": _cell,
    "JSON changed": _json_change,
    "a byte replaced": lambda rng, text: hostile.bytes_replaced(rng, text.encode()),
    "bytes out of the middle": lambda rng, text: hostile.bytes_removed(rng, text.encode()),
    "NUL bytes": lambda rng, text: text.replace(rng.choice(["\n", "a", "1"]), "\0", 3),
    "a huge cell": lambda rng, text: text + '"' + "x" * rng.choice([200_000, _LARGE]) + ',"\n',
    "open quotes": lambda rng, text: text.replace("\n", '\n"', rng.choice([1, 5])),
    "Latin-1": lambda _, text: text.replace("o", "ö").encode("latin-1"),
    "UTF-16": lambda rng, text: text.encode(rng.choice(["utf-16", "utf-16-le", "utf-32"])),
    "line ends": lambda rng, text: text.replace("\n", rng.choice(["\r", "\r\n", "\v", "\u2028"])),
    "no head": lambda _, text: text.partition("\n")[2],
    "rows twice": lambda _, text: text + text,
    "one row": lambda _, text: text.partition("\n")[0],
    "many columns": lambda rng, text: text.replace("\n", "," * rng.choice([5, 20_000]) + "\n"),
    "many rows": lambda rng, text: text * rng.choice([500, 3000]),
    "nothing": lambda rng, _: rng.choice([b"", b"\n\n\n", b"\xef\xbb\xbf", b"#\n", b"   "]),
    "noise": lambda rng, _: rng.randbytes(rng.choice([10, 10_000])),
    "code": lambda _, text: f"__import__('os').system('madpipe_canary')\n{text}",
    "deep": lambda rng, _: rng.choice(["[", "{'a':", "(", "-"]) * rng.choice([300, 100_000]),
    "numbers": lambda rng, text: text.replace("cat", "9" * rng.choice([20, 5000])),
}


def _break_labels(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Break the labels of images that a teacher is trained on."""
    shutil.copytree(shared / "images", folder / "images")
    suffix = rng.choice(_SUFFIXES)
    what, content = _broken(rng, _table(rng, suffix))
    (folder / "images" / f"labels{suffix}").write_bytes(content)
    more = "" if rng.random() < 0.7 else 'classes = ["cat", "dog", "ox"]'
    file = f"labels{suffix}" if rng.random() < 0.7 else ""
    text = _TEACHER.format(file=file, more=more)
    (folder / "pipeline.toml").write_text(text, encoding="utf-8")
    return Broken(f"labels{suffix}: {what}", ["run", "teacher"])


def _break_classes(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Break the list of classes that an ONNX file is built with."""
    export = stored.entry_of(shared.with_name(stored.FOLDER) / stored.HOME, "export")
    shutil.copy(export / "student.onnx", folder)
    suffix = rng.choice([".txt", ".csv", ".json", ".yaml", ""])
    what, content = _broken(rng, _classes(rng, suffix))
    (folder / f"names{suffix}").write_bytes(content)
    words = ["build", "--onnx", "student.onnx", "--labels", f"names{suffix}", "--out", "engine"]
    words += ["--backend", "onnxruntime", "--device", "cpu", "--precision", "fp32"]
    return Broken(f"names{suffix}: {what}", words, ("engine",))


LABELS = Format("labels", _prepare, _break_labels)
CLASSES = Format("class-lists", stored.prepare, _break_classes)

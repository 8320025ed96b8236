"""The projects whose keys are looked at: small, and between them all that a stage can declare."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.torch import save_file

from benchmarks.reliability import small_project

LONG_AGO_NS = 1_000_000_000_000_000_000
"""The time of every file, so that no digest is of a file that was only just written."""

_NETWORK = """\
\"\"\"A network.\"\"\"
import importlib
import json
from pathlib import Path

import einops
from layers import block  # beside this file
from parts.heads import head


def make():
    \"\"\"Make it.\"\"\"
    width = json.loads(Path(__file__).with_name("width.json").read_text())["width"]
    return importlib.import_module("bodies").body(width, block, head)
"""
FILES = {
    "net.py": _NETWORK,
    "layers.py": "from sizes import SIZE\n\ndef block(width):\n    return width + SIZE\n",
    "sizes.py": "SIZE = 3\n",
    "bodies.py": "def body(width, block, head):\n    return head(block(width))\n",
    "parts/__init__.py": "from . import norms\n",
    "parts/heads.py": "def head(x):\n    return 2 * x\n",
    "parts/norms.py": "EPS = 1e-5\n",
    "parts/unused.py": "ANY = 1\n",
    "width.json": '{"width": 8}\n',
    "unused.py": "ANY = 1\n",
    "README.md": "A network.\n",
}
"""The user's own code in the project of folders."""

_FOLDERS = """\
[data]
source = "folder"
root = "data"
labels = "labels.csv"
classes = "classes.txt"
image_size_px = 8
[teacher]
arch = "net.py:make"
[student]
arch = "net.py:make"
[distill]
images = "photos"
[build]
backend = "onnxruntime"
precision = "fp32"
"""
_BANK = """\
[teacher]
weights = "teacher.safetensors"
[student]
weights = "start.safetensors"
[bank]
keep = false
[build]
backend = "onnxruntime"
precision = "int8"
[validate]
images = "bank"
"""
_PROGRAM = """\
[teacher]
weights = "teacher.onnx"
[distill]
monitor = "held-out"
[build]
precision = "auto"
"""
_TENSORRT = """\
[build]
device = "cuda-tensorrt"
backend = "onnxruntime"
precision = "fp32"
[validate]
batch_sizes = [1]
"""


def write_all(folder: Path) -> None:
    """Write every project into a folder of its name."""
    for name, write in PROJECTS.items():
        write(folder / name)
        for path in sorted((folder / name).rglob("*")):
            os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))


def _digits(folder: Path) -> None:
    small_project.write(folder)
    _weights(folder / "other.safetensors", 2)
    _photos(folder / "photos")


def _folders(folder: Path) -> None:
    small_project.write(folder, settings=_FOLDERS)
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    _photos(folder / "photos")
    rows = ["file,class"]
    for part in ("train", "val"):
        for kind in ("cats", "dogs"):
            _photos(folder / "data" / part / kind)
            rows += [f"{part}/{kind}/{number}.bmp,{kind}" for number in range(4)]
    (folder / "data" / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "classes.txt").write_text("dogs\ncats\n", encoding="utf-8")


def _photos(folder: Path) -> None:
    """Write images without compression, all of one size."""
    folder.mkdir(parents=True)
    for number in range(4):
        pixels = np.full((8, 8, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.bmp")


def _bank(folder: Path) -> None:
    small_project.write(folder, settings=_BANK)
    _weights(folder / "teacher.safetensors", 0)
    _weights(folder / "start.safetensors", 1)
    _weights(folder / "other.safetensors", 2)
    _photos(folder / "photos")


def _weights(path: Path, value: float) -> None:
    save_file({"weight": torch.full((4, 4), float(value))}, path)


def _program(folder: Path) -> None:
    small_project.write(folder, settings=_PROGRAM)
    weight = numpy_helper.from_array(np.zeros((1024, 10), np.float32), "weight")
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        ],
        "teacher",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        [weight],
    )
    model = helper.make_model(graph)
    onnx.save(
        model, folder / "teacher.onnx", save_as_external_data=True, location="teacher.data",
        size_threshold=0,
    )  # fmt: skip


def _tensorrt(folder: Path) -> None:
    small_project.write(folder, settings=_TENSORRT)


PROJECTS: dict[str, Callable[[Path], None]] = {
    "digits": _digits,
    "folders": _folders,
    "bank": _bank,
    "program": _program,
    "tensorrt": _tensorrt,
}
"""Each by its name and what writes it."""

"""Broken ONNX files: bytes, fields, graphs, and weights in other files."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto

from benchmarks.reliability.broken_inputs.binary import GENERAL, any_of
from benchmarks.reliability.broken_inputs.harness import Broken, Format
from benchmarks.reliability.broken_inputs.onnx_fields import field, wire
from benchmarks.reliability.broken_inputs.onnx_graphs import (
    attribute,
    domain,
    shape,
    sound_model,
    stored,
    wiring,
)
from benchmarks.reliability.broken_inputs.onnx_large import large, subgraph

_BACKENDS = ("onnxruntime", "onnxruntime", "openvino")


def broken(rng: random.Random, model: ModelProto) -> tuple[str, bytes]:
    """Break a sound model: its bytes, fields of its messages, or what its graph computes."""
    choice = rng.random()
    if choice < 0.15:
        return any_of(rng, model.SerializeToString(), GENERAL)
    if choice < 0.25:
        return wire(rng, model.SerializeToString())
    if choice < 0.5:
        what = field(rng, model)
    else:
        change = rng.choice(_CHANGES)
        what = change(rng, model)
    return what, model.SerializeToString()


_CHANGES: Sequence[Callable[[random.Random, ModelProto], str]] = (
    large, large, shape, stored, wiring, attribute, subgraph, domain,
)  # fmt: skip


def external(rng: random.Random, model: ModelProto, folder: Path) -> str:
    """Keep weights in another file, whose path, place or length is a lie."""
    (folder / "weights.bin").write_bytes(bytes(4096))
    location = rng.choice(
        ("weights.bin", "weights.bin", "/etc/hostname", "../x", "a/../../x", "none.bin", "",
         "/dev/zero", "a\0b", "weights.bin/x", ".", "net.onnx", "/proc/self/mem", "pipe", "link")
    )  # fmt: skip
    (folder / "link").symlink_to("/etc/hostname")
    tensor = rng.choice(model.graph.initializer)
    if rng.random() < 0.8:
        tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location}
    for key in ("offset", "length"):
        if rng.random() < 0.6:
            entries[key] = rng.choice(("0", "-1", "4096", "99999999999999", "x", "", "1e3", "16"))
    if rng.random() < 0.2:
        entries["checksum"] = "x"
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return f"external {entries}"


def _prepare(shared: Path) -> None:
    onnx.save(sound_model(), str(shared / "base.onnx"))


_TEACHER = """\
[data]
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
[validate]
images = "bank"
[teacher]
weights = "net.onnx"
input = "unit"
[student]
arch = "resnet8"
"""


def _break_one(rng: random.Random, folder: Path, shared: Path) -> Broken:
    model = onnx.load(str(shared / "base.onnx"))
    if rng.random() < 0.1:
        what = external(rng, model, folder)
        content = model.SerializeToString()
    else:
        what, content = broken(rng, model)
    (folder / "net.onnx").write_bytes(content)
    if rng.random() < 0.25:
        (folder / "pipeline.toml").write_text(_TEACHER, encoding="utf-8")
        return Broken(what, rng.choice((["plan"], ["run", "teacher"])))
    backend = rng.choice(_BACKENDS)
    options = ["--onnx", "net.onnx", "--backend", backend, "--out", "engine", "--precision", "fp32"]
    if rng.random() < 0.3:
        options += ["--image-size", "16"]
    return Broken(what, ["build", *options], ("engine",))


ONNX = Format("ONNX", _prepare, _break_one)
FORMATS = (ONNX,)

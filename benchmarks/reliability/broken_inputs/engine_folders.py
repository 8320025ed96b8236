"""Broken folders of engines: manifests that lie of them, and engines that are not what was built.

Not tested: engines of TensorRT and TensorRT-RTX, which no machine without a GPU opens; manifests
that say that an engine is one of theirs are.
"""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.reliability.broken_inputs import hostile, networks
from benchmarks.reliability.broken_inputs.binary import GENERAL, any_of
from benchmarks.reliability.broken_inputs.harness import Broken, Format
from benchmarks.reliability.broken_inputs.onnx_files import broken as broken_onnx
from benchmarks.reliability.broken_inputs.onnx_graphs import sound_model
from pipeline.settings import Build
from stages.standalone import build_engine

_SPECIAL: dict[str, tuple[Any, ...]] = {
    "backend": ("openvino", "tensorrt", "tensorrt-rtx", "nothing", "../x"),
    "engine": (
        "../foreign/notes.txt",
        "/etc/hostname",
        "manifest.json",
        "",
        ".",
        "a/b",
        "\0",
        "link",
    ),
    "device": ("cuda", "cuda-tensorrt", "nothing"),
    "sha256": ("0" * 64, "", "x"),
    "targets": (["sm89"], ["x"] * 1000),
    "ep_context": ({"provider": "TensorrtExecutionProvider", "version": "1", "sdk_version": ""},),
}


def manifest_changed(rng: random.Random, manifest: dict[str, Any]) -> str:
    """Change one field of a manifest, or of what lies in it."""
    parent: Any = manifest
    while True:
        key = rng.choice([*parent]) if parent else "x"
        value = parent.get(key)
        if not isinstance(value, dict) or not value or rng.random() < 0.3:
            break
        parent = value
    if rng.random() < 0.2:
        parent.pop(key, None)
        return f"manifest without {key}"
    special = _SPECIAL.get(key, ())
    new = rng.choice(special) if special and rng.random() < 0.7 else hostile.value(rng)
    parent[key] = new
    return f"manifest: {key} = {str(new)[:40]!r}"


def _prepare(shared: Path) -> None:
    onnx.save(sound_model(), str(shared / "net.onnx"))
    for backend in ("onnxruntime", "openvino"):
        options = Build(backend=backend, precision="fp32", device="cpu")
        build_engine.build(shared / "net.onnx", shared / backend, options)
    networks.write_safetensors(shared / "teacher.safetensors", channels=3, classes=5)
    x = np.random.default_rng(0).integers(0, 255, (8, 16, 16, 3), np.uint8)
    np.savez_compressed(shared / "bank.npz", x=x)


def _break_one(rng: random.Random, folder: Path, shared: Path) -> Broken:
    source = shared / rng.choice(("onnxruntime", "openvino"))
    manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
    engine = (source / manifest["engine"]).read_bytes()
    name, text = manifest["engine"], ""
    choice = rng.random()
    if choice < 0.4:
        what = manifest_changed(rng, manifest)
    elif choice < 0.5:
        what, content = any_of(rng, json.dumps(manifest).encode(), GENERAL)
        text = content.decode("latin1")
    elif choice < 0.6:
        what, engine = any_of(rng, engine, GENERAL)
    else:
        what, engine = broken_onnx(rng, onnx.load_model_from_string(engine))
        manifest["sha256"] = hashlib.sha256(engine).hexdigest()
    target = folder / "engine"
    target.mkdir()
    (target / name).write_bytes(engine)
    written = text.encode("latin1") if text else json.dumps(manifest).encode("utf-8", "replace")
    (target / "manifest.json").write_bytes(written)
    if rng.random() < 0.3:
        return Broken(what, ["package", "--engine", "engine", "--out", "packed"], ("packed",))
    for file in ("teacher.safetensors", "bank.npz"):
        (folder / file).write_bytes((shared / file).read_bytes())
    options = ["--engine", "engine", "--teacher", "teacher.safetensors", "--data", "bank:bank.npz"]
    quick = ["--set", "validate.pairs=20", "--set", "validate.warmup_s=0.01"]
    quick += ["--set", "validate.first_runs=0", "--set", "validate.teacher_engine=false"]
    return Broken(what, ["validate", *options, "--arch", networks.ARCH, *quick], ("engine",))


ENGINES = Format("engines", _prepare, _break_one)
FORMATS = (ENGINES,)

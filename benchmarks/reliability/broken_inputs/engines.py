"""Folders of engines whose manifests are broken, and other records beside files."""

import hashlib
import json
import random
import shutil
from pathlib import Path

from benchmarks.reliability.broken_inputs import hostile, json_files, stored
from benchmarks.reliability.broken_inputs.harness import Broken, Format

_QUICK = ("validate.pairs=20", "validate.warmup_s=0.01", "validate.first_runs=0")
_ENGINE = "engine"
_RUNTIME = {"name": "onnxruntime-web", "version": "1.24.0", "main": "dist/ort.min.js"}
_RECIPE = {"schema": "madpipe.bank/1", "images": 32, "seed": 0, "parts": ["generator.safetensors"]}


def _break_manifest(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Break the manifest of an engine, or put another file in its place."""
    home = shared.with_name(stored.FOLDER) / stored.HOME
    shutil.copytree(stored.entry_of(home, "build"), folder / _ENGINE)
    shutil.copy(stored.entry_of(home, "teacher") / "teacher.safetensors", folder)
    shutil.copy(stored.entry_of(home, "export") / "student.onnx", folder)
    path = folder / _ENGINE / "manifest.json"
    if rng.random() < 0.85:
        what, content = json_files.broken(rng, path.read_bytes())
    else:
        manifest = json.loads(path.read_bytes())
        manifest["engine"] = rng.choice(
            [*hostile.TEXTS, "manifest.json", "../student.onnx", "link"]
        )
        (folder / _ENGINE / "link").symlink_to(rng.choice(["/dev/zero", "../../foreign/notes.txt"]))
        what, content = f"engine {manifest['engine'][:40]!r}", json_files.encoded(manifest)
    stored.replace(path, content)
    if rng.random() < 0.2:
        engine = path.with_name("engine.onnx")
        stored.replace(engine, hostile.bytes_replaced(rng, engine.read_bytes(), 3))
        _sign(path, engine)
        what += ", engine changed"
    return Broken(f"manifest: {what}", _command(rng), ("packed", _ENGINE))


def _sign(path: Path, engine: Path) -> None:
    """Put the digest of an engine into its manifest, where that is still one."""
    try:
        manifest = json.loads(path.read_bytes())
        manifest["sha256"] = hashlib.sha256(engine.read_bytes()).hexdigest()
    except (ValueError, TypeError, RecursionError):
        return
    stored.replace(path, json_files.encoded(manifest))


def _command(rng: random.Random) -> list[str]:
    kind = rng.random()
    if kind < 0.5:
        words = ["package", "--engine", _ENGINE, "--out", rng.choice(["packed", "packed.zip"])]
    elif kind < 0.8:
        words = ["validate", "--engine", _ENGINE, "--teacher", "teacher.safetensors"]
        words += [word for change in _QUICK for word in ("--set", change)]
        words += ["--set", "validate.teacher_engine=false"]
    else:
        words = ["build", "--onnx", "student.onnx", "--out", _ENGINE, "--backend", "onnxruntime"]
        words += ["--precision", "fp32", "--device", "cpu"]
    return words


def _break_beside(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Break a record beside an input: of a bank that is drawn again, of a web runtime."""
    home = shared.with_name(stored.FOLDER) / stored.HOME
    if rng.random() < 0.5:
        shutil.copytree(stored.entry_of(home, "build"), folder / _ENGINE)
        (folder / "web").mkdir()
        what, content = json_files.broken(rng, json.dumps(_RUNTIME).encode())
        (folder / "web" / "package.json").write_bytes(content)
        words = ["package", "--engine", _ENGINE, "--for", "web", "--web-runtime", "web"]
        return Broken(f"package.json: {what}", [*words, "--out", "packed"], ("packed",))
    shutil.copy(stored.entry_of(home, "export") / "student.onnx", folder)
    what, content = json_files.broken(rng, json.dumps(_RECIPE).encode())
    (folder / "bank.json").write_bytes(content)
    words = ["build", "--onnx", "student.onnx", "--out", _ENGINE, "--precision", "int8"]
    words += ["--backend", "onnxruntime", "--device", "cpu", "--calibration", "bank.json"]
    return Broken(f"bank.json: {what}", words, (_ENGINE,))


MANIFESTS = Format("manifests", stored.prepare, _break_manifest)
BESIDE = Format("records-beside-files", stored.prepare, _break_beside)

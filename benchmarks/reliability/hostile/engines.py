"""Engines whose manifest lies: what they are, where they lie, what they take and answer."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.reliability.hostile.scene import ANY_END, REFUSED, Attack, NotSurvivedError, Scene

_LIES: tuple[tuple[Mapping[str, Any], frozenset[int]], ...] = (
    ({"sha256": "0" * 64}, REFUSED),
    ({"backend": "evil"}, REFUSED),
    ({"backend": "openvino"}, ANY_END),
    ({"backend": "tensorrt"}, REFUSED | {5}),
    ({"backend": "tensorrt-rtx"}, REFUSED | {5}),
    ({"engine": "../../outside/engine.onnx"}, REFUSED),
    ({"engine": "/etc/passwd"}, REFUSED),
    ({"engine": ".."}, REFUSED),
    ({"engine": ""}, REFUSED),
    ({"engine": "manifest.json"}, REFUSED),
    ({"device": "cuda"}, REFUSED | {5}),
    ({"device": "../../x"}, REFUSED | {5}),
    ({"device": "cuda-tensorrt"}, REFUSED | {5}),
    ({"precision": "int8"}, ANY_END),
    ({"precision": "\x1b[2J<script>"}, ANY_END),
    ({"backend_version": "1.0\n--index-url https://example.org"}, ANY_END),
    ({"backend_version": "99.0"}, ANY_END),
    ({"signature.num_classes": 7}, REFUSED),
    ({"signature.num_classes": 2**40}, REFUSED),
    ({"signature.classes": ["a"]}, REFUSED),
    ({"signature.classes": ["<b>", "\x1b[2J", "a\nb", "::error::x", *"efghij"]}, ANY_END),
    ({"signature.shape": [1, 2**20, 2**20]}, REFUSED),
    ({"signature.shape": [3, 8, 8]}, REFUSED),
    ({"signature.input": "other"}, REFUSED),
    ({"signature.output": "other"}, REFUSED),
    ({"signature.arch": "../../outside/a"}, ANY_END),
    ({"signature.arch": "\x1b]0;x\x07<img src=x>"}, ANY_END),
    ({"preprocessing.mean": [float(10**300)]}, ANY_END),
    ({"preprocessing.std": [0.0]}, ANY_END),
    ({"preprocessing.image_size_px": 2**30}, REFUSED),
    ({"settings": {"max_batch": "1 }\n evil {"}}, ANY_END),
    ({"layers": "<script>" * 1000, "float_layers": ["\x1b[2J"]}, ANY_END),
)


def _changed(scene: Scene, changes: Mapping[str, Any]) -> Path:
    """Copy the engine that was built, with another manifest; return its folder."""
    home = scene.finished()
    (built,) = (home / "entries/build").glob("*/manifest.json")
    manifest = json.loads(built.read_bytes())
    for name, value in changes.items():
        table, _, field = name.rpartition(".")
        (manifest[table] if table else manifest)[field] = value
    folder = scene.project / "engine"
    folder.mkdir()
    (folder / "engine.onnx").write_bytes(built.with_name("engine.onnx").read_bytes())
    (scene.outside / "engine.onnx").write_bytes((folder / "engine.onnx").read_bytes())
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _lie(scene: Scene, variant: int) -> None:
    changes, codes = _LIES[variant]
    _changed(scene, changes)
    for command in (
        ("validate", "--engine", "engine", "--data", "digits"),
        ("package", "--engine", "engine", "--out", "packed"),
        ("package", "--engine", "engine", "--out", "packed.zip"),
    ):
        allowed = codes if command[0] == "validate" else ANY_END
        ended = scene.attempt(*command, codes=allowed)
        if "\x1b" in ended.stdout + ended.stderr:
            raise NotSurvivedError(f"{command[0]}: expected no escape on the screen, seen one")
    _check_package(scene.project / "packed")


def _check_package(folder: Path) -> None:
    """Make sure that what others read of a package is nothing but what it should be."""
    if not folder.is_dir():
        return
    pins = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if bad := [pin for pin in pins if pin.startswith("-") or "://" in pin]:
        raise NotSurvivedError(f"expected pins in requirements.txt alone, seen {bad}")
    labels = (folder / "labels.txt").read_text(encoding="utf-8")
    if "\x1b" in labels:
        raise NotSurvivedError("expected labels without escapes, seen one")
    card = (folder / "README.md").read_text(encoding="utf-8")
    for bad_text in ("<script", "<img", "\x1b", "--index-url https://"):
        if bad_text in card:
            raise NotSurvivedError(f"expected a card without markup, seen {bad_text}")
    names = [path.relative_to(folder) for path in folder.rglob("*")]
    if any(".." in name.parts or name.is_absolute() for name in names):
        raise NotSurvivedError(f"expected names within the package, seen {names}")


def _other_bytes(scene: Scene, variant: int) -> None:
    """Put other bytes in the place of the engine, which its manifest agrees with."""
    folder = _changed(scene, {})
    engine, manifest = folder / "engine.onnx", folder / "manifest.json"
    whole = engine.read_bytes()
    content = (b"", b"x" * 100, whole[: len(whole) // 2], b"\x80\x04c", b"\x7fELF" + bytes(100))[
        variant
    ]
    engine.write_bytes(content)
    fields = json.loads(manifest.read_bytes())
    fields["sha256"] = hashlib.sha256(content).hexdigest()
    manifest.write_text(json.dumps(fields), encoding="utf-8")
    scene.attempt("validate", "--engine", "engine", "--data", "digits")


ATTACKS = (
    Attack("an engine whose manifest lies", _lie, len(_LIES)),
    Attack("an engine of other bytes", _other_bytes, 5),
)

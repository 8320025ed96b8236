"""Broken .pt2 and TorchScript archives: members, the JSON and code in them, and their constants."""

import io
import json
import random
import warnings
from pathlib import Path
from typing import Any

import torch

from benchmarks.reliability.broken_inputs import hostile, networks
from benchmarks.reliability.broken_inputs.actions import CANARY
from benchmarks.reliability.broken_inputs.binary import (
    GENERAL,
    OF_ARCHIVES,
    any_of,
    members,
    zipped,
)
from benchmarks.reliability.broken_inputs.harness import Broken, Format

_CODE = (
    f"torch.save(x, '{CANARY}')", "torch.from_file('/etc/hostname', True, 10)", "__import__('os')",
    "while True:\n      pass", "ops.aten.nothing(x)", "(" * 2000, "torch.fork(self)", "x\0",
    "torch.zeros([1099511627776])", "raise Exception('x')", "self.nothing", "print(x)",
)  # fmt: skip
_TARGETS = (
    "os.system", "torch.ops.aten.nothing.default", "builtins.eval", "torch.save", "",
    "torch.ops.aten.from_file.default", "torch.ops.aten.save.default", "_operator.add", "a" * 5000,
)  # fmt: skip
_SETTINGS = """\
[data]
mean = [0.5]
std = [0.5]
image_size_px = 8
[validate]
images = "bank"
[teacher]
weights = "{name}"
input = "unit"
[student]
arch = "resnet8"
"""


def _json_changed(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Change one value anywhere in a JSON document."""
    document = json.loads(content)
    places = list(_places(document))
    parent, key = rng.choice(places)
    old = parent[key]
    if isinstance(old, str) and rng.random() < 0.5:
        new: Any = rng.choice(_TARGETS)
    elif isinstance(old, list | dict) and rng.random() < 0.5:
        new = type(old)()
    else:
        new = hostile.value(rng)
    parent[key] = new
    return f"{str(key)[:30]} = {str(new)[:40]!r}", json.dumps(document).encode()


def _places(document: Any) -> Any:
    keys = document.keys() if isinstance(document, dict) else range(len(document))
    for key in list(keys):
        yield document, key
        if isinstance(document[key], dict | list):
            yield from _places(document[key])


def _code_changed(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Put a statement into TorchScript's code."""
    lines = content.decode().split("\n")
    number = rng.randrange(len(lines))
    code = rng.choice(_CODE)
    indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
    lines.insert(number, f"{indent}{rng.choice(('', 'y = '))}{code}")
    return f"code {code[:30]!r}", "\n".join(lines).encode()


def broken(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Break a sound archive of a program."""
    choice = rng.random()
    if choice < 0.1:
        return any_of(rng, content, GENERAL)
    if choice < 0.35:
        return any_of(rng, content, OF_ARCHIVES)
    parts = members(content)
    of_interest = [n for n, p in enumerate(parts) if p.name.endswith((".json", ".py"))]
    number = rng.choice(of_interest)
    part = parts[number]
    if part.name.endswith(".json") and part.content[:1] in b"{[":
        what, changed = _json_changed(rng, part.content)
    elif part.name.endswith(".py"):
        what, changed = _code_changed(rng, part.content)
    else:
        what, changed = any_of(rng, part.content, GENERAL)
    parts[number] = part._replace(content=changed)
    return f"{part.name.rpartition('/')[2]}: {what}", zipped(parts)


def _prepare(shared: Path) -> None:
    network, images = networks.network().eval(), torch.zeros(2, 1, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch advises of its own archives
        batch = {0: torch.export.Dim("batch", min=1, max=4096)}
        program = torch.export.export(network, (images,), dynamic_shapes=(batch,))
        torch.export.save(program, shared / "base.pt2")
        buffer = io.BytesIO()
        script = torch.jit.trace(network, images)  # type: ignore[no-untyped-call]
        torch.jit.save(script, buffer)
    (shared / "base.ts").write_bytes(buffer.getvalue())


def _break_one(rng: random.Random, folder: Path, shared: Path) -> Broken:
    name = rng.choice(("base.pt2", "base.ts"))
    what, content = broken(rng, (shared / name).read_bytes())
    (folder / name).write_bytes(content)
    (folder / "pipeline.toml").write_text(_SETTINGS.format(name=name), encoding="utf-8")
    return Broken(f"{name} {what}", rng.choice((["plan"], ["run", "teacher"])))


PROGRAMS = Format("programs", _prepare, _break_one)
FORMATS = (PROGRAMS,)

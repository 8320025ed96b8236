"""A project that has run, of which each case breaks one stored file."""

import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.reliability import small_project

FOLDER = "stored"
HOME = ".madpipe"
BASELINE = "baseline"
_IMAGES = 40
SETTINGS = """\
[run]
checkpoint_every_s = 0
[teacher]
arch = "resnet8"
epochs = 2
[student]
arch = "resnet8"
[distill]
rounds = 6
batch_size = 16
images = "unlabelled"
bank_size = 32
[build]
backend = "onnxruntime"
precision = "fp32"
[validate]
pairs = 20
warmup_s = 0.01
first_runs = 2
pictures = 2
batch_sizes = [1, 2]
[gates]
teacher_top1.min = 0.5
student_top1_drop.max = 0.9
engine_top1_drop.max = 0.005
engine_calibration_error.max = 0.5
engine_images_agreement.min = 0.5
speedup.min = 0.1
speedup_same_backend.min = 0.1
engine_p50_ms.max = 100
engine_p99_ms.max = 100
engine_first_ms.max = 10000
engine_images_per_s.min = 1
engine_bytes.max = 10000000
[compare]
engine_top1_drop.max = 0.01
student_top1_drop.max = 0.01
latency_ratio.max = 1.1
engine_bytes_ratio.max = 2
engine_p50_ms.worse_relative = 0.1
engine_calibration_error.worse_absolute = 0.1
engine_resident_bytes.worse_relative = 0.1
"""


def prepare(shared: Path) -> None:
    """Run the whole pipeline once for all formats; keep a baseline of it."""
    project = shared.with_name(FOLDER)
    if project.exists():
        return
    small_project.write(project, settings=SETTINGS)
    (project / "unlabelled").mkdir()
    for number in range(_IMAGES):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(project / "unlabelled" / f"{number}.png")
    for words in (["run", "all"], ["run", "all"], ["baseline", BASELINE]):
        ended = small_project.run(project, *words)
        assert ended.code in (0, 3, 4), ended.stderr


def copy(folder: Path, shared: Path) -> Path:
    """Copy the project into the folder of a case; return its working folder."""
    shutil.copytree(shared.with_name(FOLDER), folder, dirs_exist_ok=True)
    return folder / HOME


def entry_of(home: Path, stage: str) -> Path:
    """Return the folder of the only entry of a stage."""
    (record,) = home.glob(f"entries/{stage}/*/entry.json")
    return record.parent


def replace(path: Path, content: bytes) -> None:
    """Write a file anew, also one that may only be read."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def sign_output(path: Path) -> None:
    """Make the record of the entry of an output right again, so that its content is read."""
    record_path = path.with_name("entry.json")
    record = json.loads(record_path.read_bytes())
    for output in record["outputs"].values():
        if output["file"] == path.name:
            output["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
            output["bytes"] = path.stat().st_size
    replace(record_path, signed(record))


def signed(record: dict[str, Any]) -> bytes:
    """Return the record of an entry with the digest of itself."""
    fields = {name: value for name, value in record.items() if name != "record_sha256"}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return json.dumps(fields | {"record_sha256": digest}).encode()


def rekeyed(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record whose key is that of its parts."""
    text = json.dumps(record["parts"], sort_keys=True, separators=(",", ":"))
    return record | {"key": hashlib.sha256(text.encode()).hexdigest()}


def choose(rng: random.Random, *commands: list[str]) -> list[str]:
    """Return one of some commands, to be changed freely."""
    return list(rng.choice(commands))

"""A whole project that runs in seconds, the command on it, and what its results are compared by."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.cache.entry import EntryRecord

MADPIPE = Path(sys.executable).with_name("madpipe")
STAGES = ("teacher", "distill", "export", "build", "validate")
RESULTS = {"distill": "student", "export": "onnx", "build": "engine"}
"""The output of each stage that has to come out byte by byte."""

# One candidate, so that no measured time decides what is built; a checkpoint at every chance.
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
[build]
backend = "onnxruntime"
precision = "fp32"
[validate]
pairs = 20
warmup_s = 0.01
first_runs = 0
teacher_engine = false
pictures = 2
batch_sizes = [1]
[gates]
"""


class Results(NamedTuple):
    """What a run left, to be compared with what a run left alone leaves."""

    keys: dict[str, str]
    """The key of the entry used last, for each stage."""
    digests: dict[str, str]
    """sha256 of the student, the ONNX file and the engine."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


def write(folder: Path, *, settings: str = SETTINGS) -> Path:
    """Write the project's settings into a folder, which is made; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipeline.toml").write_text(settings, encoding="utf-8")
    return folder


def environment(**changes: str) -> dict[str, str]:
    """Return this process's variables with one thread and no working folder but the project's."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("MADPIPE_")}
    return variables | {"OMP_NUM_THREADS": "1"} | changes


def start(
    folder: Path, *arguments: str, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start madpipe in a folder as the leader of a process group of its own."""
    return subprocess.Popen(
        [MADPIPE, *arguments],
        cwd=folder,
        env=dict(variables) if variables is not None else environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(
    folder: Path,
    *arguments: str,
    variables: Mapping[str, str] | None = None,
    limit_s: float = 300.0,
) -> Ended:
    """Run madpipe in a folder to its end.

    Raises:
        subprocess.TimeoutExpired: It took longer than `limit_s`; it is killed then.
    """
    process = start(folder, *arguments, variables=variables)
    try:
        stdout, stderr = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Ended(process.returncode, stdout, stderr)


def results(home: Path, stages: Sequence[str] = STAGES) -> Results:
    """Return what lies in a working folder, read anew and checked against its records.

    Raises:
        AssertionError: A stage has no entry, or a file differs from what its record says.
    """
    import hashlib  # noqa: PLC0415

    keys, digests = {}, {}
    for stage in stages:
        pointer = home / "entries" / stage / "newest"
        assert pointer.is_file(), f"no entry of {stage}"
        folder = pointer.with_name(pointer.read_text(encoding="utf-8"))
        record = EntryRecord.decode((folder / "entry.json").read_bytes())
        for name, output in record.outputs.items():
            digest = hashlib.sha256((folder / Path(output.file).name).read_bytes()).hexdigest()
            assert digest == output.sha256, f"{name} of {stage} is not what its record says"
        keys[stage] = record.key
        if stage in RESULTS:
            digests[stage] = record.outputs[RESULTS[stage]].sha256
    return Results(keys, digests)

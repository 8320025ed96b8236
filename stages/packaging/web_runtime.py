"""onnxruntime-web: its files, read from the folder of the npm package, and an engine run by it.

madpipe downloads nothing, so the user installs the package and names its folder. Whether it runs an
engine, only it knows: it runs the engine in node on random images before a package is written.

Shape legend: B batch, C channel, H W space, K classes.
"""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline import stored_files
from pipeline.atomic import scratch_folder
from pipeline.errors import UnavailableError, UsageError
from pipeline.gates.build_records import Signature
from pipeline.stage import StageError
from stages.build.agreement import Agreement, compare
from stages.engines import ort
from stages.engines.base import to_model_input

TESTED = "1.30.0"
"""The version of onnxruntime-web that the tests run."""
OPTION = "--web-runtime"
INSTALL = f"npm install onnxruntime-web@{TESTED}"
_PACKAGE = "onnxruntime-web"
_MODULE = "ort.wasm.min.mjs"
FILES = (_MODULE, "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""What a page needs of the package's `dist` to run on the CPU, some 14 MB."""
IMAGES = 8
"""How many random images are compared."""
_SEED = 0
_LIMIT_S = 300
MAX_DIFFERENCE = 1e-3
"""Of a logit of an fp32 engine, as a share of the spread of the logits; as `export` allows."""
_TOO_NEW = {
    "ir_version": re.compile(r"IR version: (\d+), max supported IR version: (\d+)"),
    "opset": re.compile(r"Opset (\d+) is under development.*till opset (\d+)"),
}
"""What it says of files of a newer standard: their version, and the newest that it reads."""


class WebRuntime(NamedTuple):
    """The files of an installed onnxruntime-web."""

    version: str
    licence: str
    files: Mapping[str, bytes]
    module: Path
    """What node imports."""

    @property
    def digests(self) -> dict[str, str]:
        """Return the sha256 of each file."""
        return {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}


class _Package(msgspec.Struct):
    name: str
    version: str
    license: str = ""


def read(folder: Path | None) -> WebRuntime:
    """Return the files of the npm package in a folder.

    Raises:
        UsageError: No folder is named, or it is not that of onnxruntime-web, or lacks files.
    """
    remedy = f"{INSTALL}, then give {OPTION} node_modules/{_PACKAGE}"
    if folder is None:
        wrong = "is missing: a page runs the student with onnxruntime-web, which is not downloaded"
        raise UsageError(OPTION, wrong, remedy)
    try:
        package = stored_files.decode(stored_files.read_bytes(folder / "package.json"), _Package)
        if package.name != _PACKAGE:
            raise UsageError(OPTION, f"is another package ({package.name})", remedy)
        files = {name: (folder / "dist" / name).read_bytes() for name in FILES}
    except OSError as error:
        wrong = f"is not the folder of onnxruntime-web ({error.filename} is missing)"
        raise UsageError(OPTION, wrong, remedy) from error
    except msgspec.DecodeError as error:
        raise UsageError(OPTION, f"has no sound package.json ({error})", remedy) from error
    module = folder.resolve() / "dist" / _MODULE
    return WebRuntime(package.version, package.license, files, module)


def check(runtime: WebRuntime, engine: bytes, signature: Signature, precision: str) -> Agreement:
    """Run an engine with onnxruntime-web in node, and compare it with ONNX Runtime on the CPU.

    Raises:
        StageError: onnxruntime-web does not run it, or an fp32 engine gives other logits.
        UnavailableError: node is not there.
        UsageError: The folder's files are of another version than its package.json says.
    """
    channels, height, width = signature.shape
    pixels_BCHW = np.random.default_rng(_SEED).integers(
        0, 256, (IMAGES, channels, height, width), dtype=np.uint8
    )
    x_BCHW = pixels_BCHW.astype(np.float32) / np.float32(255)
    images = to_model_input(x_BCHW, is_bytes=signature.input_type == "UINT8")
    logits_BK = _logits(runtime, engine, signature, images)
    reference_BK = ort.OrtSession(engine).infer(x_BCHW)
    if logits_BK.shape != reference_BK.shape:
        wrong = f"gives another shape in onnxruntime-web {runtime.version} ({logits_BK.shape})"
        raise StageError("the engine", wrong, "use another version")
    agreement = compare(logits_BK, reference_BK)
    difference = agreement.logit_difference
    if precision == "fp32" and not difference <= MAX_DIFFERENCE:
        raise StageError(
            "the engine",
            f"gives other logits in onnxruntime-web {runtime.version} than in ONNX Runtime (they "
            f"differ by {difference:.2g} of their spread on {IMAGES} random images)",
            "use another version of onnxruntime-web",
        )
    return agreement


def _logits(
    runtime: WebRuntime, engine: bytes, signature: Signature, images: NDArray[Any]
) -> NDArray[np.float32]:
    """Return what onnxruntime-web computes of one batch, of shape BK."""
    node = shutil.which("node")
    if node is None:
        wrong = "is not on PATH, and it runs the student once with onnxruntime-web"
        raise UnavailableError("node", wrong, "install Node.js 18 or newer")
    names = {
        "input": signature.input,
        "output": signature.output,
        "type": "uint8" if images.dtype == np.uint8 else "float32",
        "dims": images.shape,
    }
    script = Path(__file__).with_name("web_check.mjs")
    with scratch_folder() as scratch:
        paths = [scratch / name for name in ("engine.onnx", "images.bin")]
        paths[0].write_bytes(engine)
        paths[1].write_bytes(images.tobytes())
        arguments = [node, *map(str, (script, runtime.module, *paths)), json.dumps(names)]
        try:
            done = subprocess.run(  # noqa: S603  (a fixed command)
                arguments, capture_output=True, text=True, check=False, timeout=_LIMIT_S
            )
        except subprocess.TimeoutExpired as error:
            wrong = f"takes more than {_LIMIT_S} s in onnxruntime-web"
            raise StageError("the engine", wrong, "use a smaller one") from error
    return _answer(runtime, done)


def _answer(runtime: WebRuntime, done: "subprocess.CompletedProcess[str]") -> NDArray[np.float32]:
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        because = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        wrong = f"ends without an answer ({because[0]})"
        remedy = f"run node 18 or newer, and {INSTALL}"
        raise StageError("onnxruntime-web in node", wrong, remedy) from error
    if "fault" in answer:
        raise _refusal(answer["fault"], runtime.version)
    if answer["version"] != runtime.version:
        wrong = f"is {runtime.version} by its package.json and {answer['version']} by its files"
        raise UsageError(OPTION, wrong, INSTALL)
    return np.array(answer["logits"], dtype=np.float32).reshape(answer["shape"])


def _refusal(text: str, version: str) -> StageError:
    """Return the error for an engine that onnxruntime-web refuses, from what it says."""
    because = " ".join(text.rpartition("ERROR_MESSAGE:")[2].split())
    for kind, pattern in _TOO_NEW.items():
        if match := pattern.search(because):
            has, newest = match.groups()
            return StageError(
                "the engine",
                f"is of a newer ONNX than onnxruntime-web {version} reads ({kind} {has}, at most "
                f"{newest})",
                f"export it with {kind} {newest}, or give {OPTION} a newer version",
            )
    return StageError(
        "the engine",
        f"holds what onnxruntime-web {version} does not run ({because})",
        "replace the layer that it names, build another precision, or package it without --for web",
    )

"""What is in a package, and what in one for servers: examples, a Dockerfile, Triton's folder."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import UsageError
from pipeline.gates import measurement_files, measurements
from pipeline.gates.build_records import EngineManifest, Signature
from pipeline.report.records import Report, RunSummary, with_measurements
from pipeline.stage import StageError
from pipeline.texts import printable
from stages.engines.base import BACKENDS, MANIFEST_FILE, VALIDATION_FILE
from stages.engines.open_engine import manifest_text, read_folder
from stages.packaging import docker, modelcard, triton
from stages.packaging.archive import Files

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!_-]*")
EXAMPLES = {
    "onnxruntime": "run_onnxruntime.py.txt",
    "openvino": "run_openvino.py.txt",
    "tensorrt": "run_tensorrt.py.txt",
    "tensorrt-rtx": "run_tensorrt.py.txt",
}
"""The example that runs a backend's engines, beside this file."""


class Packed(NamedTuple):
    """An engine that was read from its folder, and what its package says of it."""

    name: str
    manifest: EngineManifest
    signature: Signature
    report: Report | None
    engine: bytes

    @property
    def labels(self) -> bytes:
        """Return the names of the classes as a file, one a line."""
        signature = self.signature
        labels = signature.classes or tuple(str(k) for k in range(signature.num_classes))
        return "".join(printable(" ".join(label.split())) + "\n" for label in labels).encode()

    def files(self, use: Sequence[str]) -> dict[str, bytes]:
        """Return the files that every package holds; `use` goes into the card."""
        card = modelcard.render(self.name, self.manifest, self.signature, self.report, use)
        return {
            self.manifest.engine: self.engine,
            MANIFEST_FILE: manifest_text(self.manifest),
            "labels.txt": self.labels,
            "README.md": card.encode(),
        }


def read(folder: Path, *, place: str, name: str | None, report: Report | None) -> Packed:
    """Read a folder with an engine and its manifest.

    `place` is what named the folder, for messages. The name is the model's architecture where it is
    None. A run's report is used only where it is of this very engine.

    Raises:
        StageError: The folder holds no sound engine, or one that cannot be packed.
        UsageError: The name cannot be one.
    """
    manifest, engine = read_folder(folder, place)
    signature = manifest.signature
    _check_versions(manifest, place)
    if signature is None or manifest.preprocessing is None:
        wrong = "its manifest does not say what it takes (no signature or preprocessing)"
        raise StageError(place, wrong, "build it again")
    name = name or re.sub(r"[^A-Za-z0-9_.-]+", "_", signature.arch).strip("._-") or "classifier"
    if not _NAME.fullmatch(name):
        remedy = "use letters, digits, _, - and ."
        raise UsageError("--name", f"cannot be a model's name ({name})", remedy)
    if report and (report.engine is None or report.engine.sha256 != manifest.sha256):
        report = None
    report = report or _stored(folder, manifest)
    return Packed(name, manifest, signature, report, engine.read_bytes())


def _check_versions(manifest: EngineManifest, place: str) -> None:
    """Make sure that versions, which pip gets in requirements.txt, are nothing but versions."""
    compiled = manifest.ep_context
    for version in (manifest.backend_version, compiled.version if compiled else "0"):
        if not _VERSION.fullmatch(version):
            wrong = f"its manifest names what is no version ({version[:40]!r})"
            raise StageError(place, wrong, "build it again")


def collect(
    folder: Path, *, place: str, name: str | None, report: Report | None
) -> tuple[str, Files]:
    """Return the name and the files of a package for servers; see `read`."""
    packed = read(folder, place=place, name=name, report=report)
    manifest, served = packed.manifest, triton.served(packed.manifest)
    files = packed.files(modelcard.server_use(manifest))
    files["run.py"] = example(manifest.backend).encode()
    files |= docker.files(manifest)
    if served:
        folder_name = f"triton/{packed.name}"
        config = triton.config(packed.name, manifest, packed.signature)
        files[f"{folder_name}/config.pbtxt"] = config.encode()
        files[f"{folder_name}/labels.txt"] = packed.labels
        files[f"{folder_name}/1/{served.file}"] = packed.engine
    return packed.name, files


def _stored(folder: Path, manifest: EngineManifest) -> Report | None:
    """Return what `madpipe validate --engine` stored of this very engine beside it."""
    path = folder / VALIDATION_FILE
    if not path.is_file():
        return None
    measured = measurement_files.read(path, measurements.Measurements)
    if measured.engine.sha256 != manifest.sha256:
        return None
    run = RunSummary(command="madpipe validate", started_utc="", elapsed_s=0.0)
    return with_measurements(Report(run=run, stages=()), measured)


def example(backend: str) -> str:
    """Return the example that runs a backend's engines, with its copy of how images are read."""
    here = Path(__file__).parent
    text = (here / EXAMPLES[backend]).read_text(encoding="utf-8")
    modules = ["# A copy of what validation does to images."]
    for name in ("decode.py", "pixels.py"):
        module = (here.parent / "data" / name).read_text(encoding="utf-8")
        modules.append(module[module.index("\nimport ") + 1 :].rstrip())
    copy = "\n".join(modules)
    return text.replace("# pixels", copy).replace("tensorrt_module", BACKENDS[backend].needs)

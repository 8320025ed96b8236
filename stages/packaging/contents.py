"""What is in a package: the engine, its manifest, labels, card, example and Triton's folder."""

import re
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.gates import measurements
from pipeline.gates.build_records import EngineManifest
from pipeline.report.records import Report, RunSummary, with_measurements
from pipeline.stage import StageError
from stages.engines.base import BACKENDS, MANIFEST_FILE, VALIDATION_FILE
from stages.engines.open_engine import manifest_text, read_folder
from stages.packaging import modelcard, triton
from stages.packaging.archive import Files

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
EXAMPLES = {
    "onnxruntime": "run_onnxruntime.py.txt",
    "openvino": "run_openvino.py.txt",
    "tensorrt": "run_tensorrt.py.txt",
    "tensorrt-rtx": "run_tensorrt.py.txt",
}
"""The example that runs a backend's engines, beside this file."""


def collect(
    folder: Path, *, place: str, name: str | None, report: Report | None
) -> tuple[str, Files]:
    """Return the package's name and its files, of a folder with an engine and its manifest.

    `place` is what named the folder, for messages. The name is the model's architecture where it is
    None. A run's report is used only where it is of this very engine.

    Raises:
        StageError: The folder holds no sound engine, or one that cannot be packed.
        UsageError: The name cannot be one.
    """
    manifest, engine = read_folder(folder, place)
    signature = manifest.signature
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
    labels = signature.classes or tuple(str(k) for k in range(signature.num_classes))
    text = "".join(" ".join(label.split()) + "\n" for label in labels).encode()
    content = engine.read_bytes()
    files = {
        manifest.engine: content,
        MANIFEST_FILE: manifest_text(manifest),
        "labels.txt": text,
        "README.md": modelcard.render(name, manifest, signature, report).encode(),
        "run.py": example(manifest.backend).encode(),
    }
    if manifest.backend in triton.SERVED:
        served = f"triton/{name}"
        files[f"{served}/config.pbtxt"] = triton.config(name, manifest, signature).encode()
        files[f"{served}/labels.txt"] = text
        files[f"{served}/1/{triton.SERVED[manifest.backend].file}"] = content
    return name, files


def _stored(folder: Path, manifest: EngineManifest) -> Report | None:
    """Return what `madpipe validate --engine` stored of this very engine beside it."""
    path = folder / VALIDATION_FILE
    if not path.is_file():
        return None
    measured = measurements.read(path, measurements.Measurements)
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
        modules.append(module[module.index("import ") :].rstrip())
    copy = "\n".join(modules)
    return text.replace("# pixels", copy).replace("tensorrt_module", BACKENDS[backend].needs)

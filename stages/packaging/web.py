"""What is in a package for browsers: a page that runs the student, and onnxruntime-web."""

import html
from pathlib import Path

import msgspec

from pipeline.report.markdown import escaped
from pipeline.report.records import Report
from pipeline.stage import StageError
from stages.packaging import contents, web_runtime
from stages.packaging.archive import Files
from stages.packaging.web_runtime import WebRuntime

_BACKEND = "onnxruntime"
_SOURCES = ("fault.js", "images.js", "page.js", "png.js", "pixels.js", "student.js", "style.css")
_FOLDER = "onnxruntime-web"
_SERVING = (
    "Serve this folder with any web server and open it: `python -m http.server --bind 127.0.0.1`, "
    "then port 8000 of 127.0.0.1. A browser loads no modules from file:// addresses."
)
_PRIVACY = (
    "The page runs the student in WebAssembly, in one thread, on an image that is dropped on it. "
    "Its Content-Security-Policy lets it connect to its own server alone, from which it reads "
    "these files; it sends nothing."
)
_PIXELS = (
    "Images are read as validation reads them. PNG files give the same pixels everywhere; JPEG, "
    "WebP and others are decoded by the browser, whose last bits may differ from Pillow's, and "
    "which changes them where it guards against fingerprinting."
)


class WebManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the page was packed with; lies in it as web.json."""

    schema: str = "madpipe.web/1"
    name: str
    onnxruntime_web: str
    """Its version."""
    licence: str
    """Of onnxruntime-web, as its package.json names it."""
    sha256: dict[str, str]
    """Of each of its files."""
    images: int
    """Random images on which it ran the engine in node, before this was written."""
    same_class: int
    """How many of them got the class that ONNX Runtime gives on the CPU."""
    logit_difference: float
    """The largest from ONNX Runtime's, as a share of the spread of the logits."""


def collect(
    folder: Path, *, place: str, name: str | None, report: Report | None, runtime: Path | None
) -> tuple[str, Files, WebManifest]:
    """Return the package's name, its files, and what onnxruntime-web made of the engine.

    `runtime` is the folder of the npm package onnxruntime-web; the rest is as `contents.read` says.

    Raises:
        StageError: The folder holds no sound engine, or one that onnxruntime-web does not run.
        UnavailableError: node is not there, which runs onnxruntime-web here.
        UsageError: The name or the folder of onnxruntime-web is missing or cannot be one.
    """
    packed = contents.read(folder, place=place, name=name, report=report)
    manifest = packed.manifest
    if manifest.backend != _BACKEND:
        raise StageError(
            place,
            f"is an engine of {manifest.backend}, which no browser runs ({manifest.engine})",
            f"madpipe build --onnx FILE --backend {_BACKEND} --device cpu, and give its folder",
        )
    files = web_runtime.read(runtime)
    agreement = web_runtime.check(files, packed.engine, packed.signature, manifest.precision)
    images = web_runtime.IMAGES
    described = WebManifest(
        name=packed.name,
        onnxruntime_web=files.version,
        licence=files.licence,
        sha256=files.digests,
        images=images,
        same_class=images - round(agreement.disagreement * images),
        logit_difference=agreement.logit_difference,
    )
    return (
        packed.name,
        packed.files((_SERVING, _PRIVACY, _PIXELS, _third_party(files))) | _page(files, described),
        described,
    )


def _page(runtime: WebRuntime, described: WebManifest) -> dict[str, bytes]:
    """Return the files of the page; names in it are text, never markup."""
    here = Path(__file__).with_name("web")
    page = (here / "index.html").read_text(encoding="utf-8")
    record = msgspec.json.format(msgspec.json.encode(described), indent=2) + b"\n"
    return {
        "index.html": page.replace("@name@", html.escape(described.name)).encode(),
        "web.json": record,
        **{name: (here / name).read_bytes() for name in _SOURCES},
        **{f"{_FOLDER}/{name}": content for name, content in runtime.files.items()},
    }


def _third_party(runtime: WebRuntime) -> str:
    licence = escaped(runtime.licence) or "not named by its package.json"
    return (
        f"`{_FOLDER}/` holds files of onnxruntime-web {escaped(runtime.version)} (licence: "
        f"{licence}), unchanged; web.json has their digests."
    )

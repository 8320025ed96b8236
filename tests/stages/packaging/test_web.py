"""A package for browsers: its page gives ONNX Runtime's logits, and what cannot run is refused."""

import base64
import functools
import http.server
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image, ImageCms

from pipeline.cache.keys import file_sha256
from pipeline.errors import UnavailableError, UsageError
from pipeline.gates.build_records import EngineManifest
from pipeline.settings import Build
from pipeline.stage import StageError
from stages import standalone
from stages.data.decode import decode
from stages.data.pixels import prepared
from stages.engines.open_engine import open_engine, read_manifest
from stages.packaging import archive, web, web_runtime
from tests.pipeline.report.test_page import CHROMIUM, FLAGS
from tests.stages.onnxgraph.graphs import classifier, layers

VARIABLE = "ORT_WEB"
FOLDER = Path(os.environ.get(VARIABLE, "node_modules/onnxruntime-web"))
needs_runtime = pytest.mark.skipif(
    not (FOLDER / "package.json").is_file() or shutil.which("node") is None,
    reason=f"{web_runtime.INSTALL}, and name its folder by {VARIABLE}; needs Node.js",
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")


def built(folder: Path, model: onnx.ModelProto, **options: Any) -> Path:
    """Return a folder with an engine, by default of ONNX Runtime on the CPU in fp32."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "a.onnx")
    values = {"backend": "onnxruntime", "device": "cpu", "precision": "fp32", **options}
    standalone.build(folder / "a.onnx", folder / "engine", Build(**values))
    return folder / "engine"


def collect(folder: Path, runtime: Path | None = FOLDER) -> tuple[archive.Files, web.WebManifest]:
    _, files, described = web.collect(
        folder, place="--engine", name=None, report=None, runtime=runtime
    )
    return files, described


def replaced(folder: Path, model: onnx.ModelProto) -> Path:
    """Put another graph into an engine's folder, with a manifest that describes it."""
    onnx.save(model, folder / "engine.onnx")
    path = folder / "manifest.json"
    manifest = msgspec.json.decode(path.read_bytes(), type=EngineManifest)
    changed = msgspec.structs.replace(manifest, sha256=file_sha256(folder / "engine.onnx"))
    path.write_bytes(msgspec.json.encode(changed))
    return folder


def relu(operator: str = "Relu", opset: int = 21, domain: str = "") -> onnx.ModelProto:
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    node = helper.make_node(operator, ["images"], ["logits"], domain=domain)
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(domain, 1)] if domain else []
    graph = helper.make_graph([node], "g", [images], [logits])
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@needs_runtime
def test_a_package_holds_a_page_the_runtime_and_what_was_compared(tmp_path: Path) -> None:
    files, described = collect(built(tmp_path, classifier()))
    ours = {"index.html", "web.json", *web._SOURCES}
    theirs = {f"onnxruntime-web/{name}" for name in web_runtime.FILES}
    shared = {"engine.onnx", "manifest.json", "labels.txt", "README.md"}
    assert set(files) == ours | theirs | shared
    record = json.loads(files["web.json"])
    assert record["onnxruntime_web"] == json.loads((FOLDER / "package.json").read_text())["version"]
    assert record["same_class"] == record["images"] == web_runtime.IMAGES
    assert described.logit_difference < web_runtime.MAX_DIFFERENCE
    for name in web_runtime.FILES:
        assert files[f"onnxruntime-web/{name}"] == (FOLDER / "dist" / name).read_bytes()
    assert b"://" not in files["index.html"]
    assert b"python -m http.server" in files["README.md"]


@needs_runtime
@pytest.mark.parametrize(
    ("model", "because"),
    [
        (relu("Foo", domain="mine"), r"does not run \(.*mine:Foo.*\); replace the layer"),
        (relu("Foo"), r"does not run \(No Op registered for Foo"),
        (relu(opset=99), r"\(opset 99, at most \d+\); export it with opset \d+"),
    ],
)
def test_an_operator_or_opset_that_it_lacks_is_refused(
    tmp_path: Path, model: onnx.ModelProto, because: str
) -> None:
    folder = replaced(built(tmp_path, classifier()), model)
    with pytest.raises(StageError, match=f"^the engine: .*onnxruntime-web .*{because}"):
        collect(folder)


@needs_runtime
def test_an_engine_in_fp32_with_other_logits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_runtime, "MAX_DIFFERENCE", -1.0)
    with pytest.raises(
        StageError, match=r"gives other logits in onnxruntime-web .* of their spread"
    ):
        collect(built(tmp_path, classifier()))


@needs_runtime
def test_an_engine_that_takes_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_runtime, "_LIMIT_S", 0.01)
    with pytest.raises(StageError, match=r"^the engine: takes more than 0.01 s in onnxruntime-web"):
        collect(built(tmp_path, classifier()))


@needs_runtime
def test_without_node_nothing_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = built(tmp_path, classifier())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"^node: is not on PATH.*; install Node.js"):
        collect(folder)


@needs_runtime
def test_files_of_another_version_than_the_package_says_are_refused(tmp_path: Path) -> None:
    copy = tmp_path / "onnxruntime-web"
    (copy / "dist").mkdir(parents=True)
    for name in web_runtime.FILES:
        shutil.copy(FOLDER / "dist" / name, copy / "dist" / name)
    (copy / "package.json").write_text('{"name": "onnxruntime-web", "version": "9.9.9"}')
    with pytest.raises(UsageError, match=r"is 9.9.9 by its package.json and \d.* by its files"):
        collect(built(tmp_path, classifier()), copy)
    (copy / "dist" / web_runtime.FILES[0]).write_text("process.exit(3)")
    with pytest.raises(StageError, match=r"ends without an answer \(exit code 3\)"):
        collect(built(tmp_path / "other", classifier()), copy)


def test_a_folder_that_is_not_the_runtimes_is_refused(tmp_path: Path) -> None:
    remedy = r"; npm install onnxruntime-web@\d.*--web-runtime node_modules/onnxruntime-web$"
    with pytest.raises(UsageError, match=f"^--web-runtime: is missing.*not downloaded{remedy}"):
        web_runtime.read(None)
    with pytest.raises(UsageError, match=rf"package.json is missing\){remedy}"):
        web_runtime.read(tmp_path)
    for text, because in (
        ("{", "no sound package.json"),
        ('{"name": "left-pad", "version": "1"}', r"another package \(left-pad\)"),
        ('{"name": "onnxruntime-web", "version": "1"}', "ort.wasm.min.mjs is missing"),
    ):
        (tmp_path / "package.json").write_text(text)
        with pytest.raises(UsageError, match=because):
            web_runtime.read(tmp_path)


def test_an_engine_of_another_backend_has_no_page(tmp_path: Path) -> None:
    folder = built(tmp_path, classifier())
    path = folder / "manifest.json"
    manifest = msgspec.json.decode(path.read_bytes(), type=EngineManifest)
    other = msgspec.structs.replace(manifest, backend="tensorrt")
    path.write_bytes(msgspec.json.encode(other))
    with pytest.raises(
        StageError,
        match=r"^--engine: is an engine of tensorrt, which no browser runs \(engine.onnx\); "
        "madpipe build --onnx FILE --backend onnxruntime",
    ):
        collect(folder)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a line for each request."""

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    """A function that opens a package in Chromium; what went wrong there fails the test."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None
    servers: list[http.server.ThreadingHTTPServer] = []
    wrong: list[str] = []
    urls: list[str] = []
    flags = [*FLAGS[:-1], f"{FLAGS[-1]}, EXCLUDE 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)

        def visit(files: archive.Files) -> Any:
            folder = tmp_path / f"package{len(servers)}"
            archive.write(files, folder, overwrite=False)
            handler = functools.partial(Quiet, directory=str(folder))
            servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
            threading.Thread(target=servers[-1].serve_forever, args=(0.05,)).start()
            tab = browser.new_page()
            tab.on("console", lambda message: wrong.append(message.text))
            tab.on("pageerror", lambda error: wrong.append(str(error)))
            tab.on("request", lambda request: urls.append(request.url))
            tab.goto(f"http://127.0.0.1:{servers[-1].server_port}/")
            tab.wait_for_selector("body.ready")
            return tab

        yield visit
        browser.close()
    for server in servers:
        server.shutdown()
        server.server_close()
    assert not wrong
    assert all(url.startswith(("http://127.0.0.1:", "data:")) for url in urls)


def logits_in(tab: Any) -> tuple[str, NDArray[np.float32]]:
    """Return the class and the logits that the page shows, in the order of the classes."""
    tab.wait_for_selector("#result:not([hidden])")
    rows = tab.eval_on_selector_all(
        "#all tr", "rows => rows.map(row => [+row.dataset.index, +row.cells[2].textContent])"
    )
    return tab.inner_text("#class"), np.array([value for _, value in sorted(rows)], np.float32)


def logits_here(folder: Path, image: Path) -> NDArray[np.float32]:
    """Return ONNX Runtime's logits of an image that is read as validation does."""
    engine = folder / "engine.onnx"
    manifest = read_manifest(folder / "manifest.json", engine)
    assert manifest.signature is not None
    channels, height, width = manifest.signature.shape
    pixels_HWC = prepared(
        decode(str(image), channels, ""), channels, (height, width), None, "bilinear"
    )
    x_BCHW = pixels_HWC.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    (logits_K,) = open_engine(manifest, engine, threads=1).infer(np.ascontiguousarray(x_BCHW))
    return np.asarray(logits_K)


DROP = """([bytes, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(bytes)], name));
  document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
}"""


@pytest.mark.slow
@needs_runtime
@needs_browser
def test_the_page_gives_the_logits_of_onnx_runtime(tmp_path: Path, page: Any) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (131, 200, 3), np.uint8)).save(tmp_path / "chosen.png")
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / "dropped.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter, which validation does not do
    photo = np.linspace(0, 255, 60 * 90 * 3).reshape(60, 90, 3).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.jpg", exif=turned, quality=95)
    folder = built(tmp_path, classifier())
    tab = page(collect(folder)[0])
    assert "sends nothing" in tab.inner_text("#drop")
    for name in ("chosen.png", "photo.jpg", "dropped.png"):
        if name.startswith("dropped"):
            tab.evaluate(DROP, [list((tmp_path / name).read_bytes()), name])
        else:
            tab.set_input_files("#file", tmp_path / name)
        tab.wait_for_function(
            "name => document.getElementById('source').textContent === name", arg=name
        )
        label, logits_K = logits_in(tab)
        expected_K = logits_here(folder, tmp_path / name)
        np.testing.assert_allclose(logits_K, expected_K, atol=1e-4)
        assert label == str(expected_K.argmax())
    (tmp_path / "notes.txt").write_text("no image")
    tab.set_input_files("#file", tmp_path / "notes.txt")
    tab.wait_for_selector("#status.fault")
    assert tab.inner_text("#status").startswith("notes.txt: is no image that this browser reads; ")
    assert tab.is_hidden("#result")


@pytest.mark.slow
@needs_runtime
@needs_browser
def test_an_engine_that_takes_bytes_gives_the_same_in_the_page(tmp_path: Path, page: Any) -> None:
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        *layers("planes"),
    ]
    folder = built(tmp_path, classifier(nodes, images=("N", 8, 8, 3), kind=TensorProto.UINT8))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    tab = page(collect(folder)[0])
    tab.set_input_files("#file", tmp_path / "a.png")
    _, logits_K = logits_in(tab)
    expected_K = logits_here(folder, tmp_path / "a.png")
    assert np.ptp(expected_K) > 1  # of bytes, not of images in [0, 1]
    np.testing.assert_allclose(logits_K, expected_K, atol=1e-4 * float(np.ptp(expected_K)))


def swapped_profile() -> bytes:
    """Return a colour profile whose red and blue are swapped, so that whoever heeds it is seen."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red, blue = (profile.index(name, 128) for name in (b"rXYZ", b"bXYZ"))
    swapped = bytearray(profile)
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(swapped)


READ = """async ([bytes, signature]) => {
  const { prepared } = await import("./images.js");
  const blob = new Blob([Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))]);
  return Array.from((await prepared(blob, { signature, preprocessing: {} })).data);
}"""


@pytest.mark.slow
@needs_runtime
@needs_browser
def test_what_the_browser_decodes_is_what_pillow_decodes(tmp_path: Path, page: Any) -> None:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    picture = small.resize((64, 48), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6
    marks: dict[str, Any] = {"exif": turned, "icc_profile": swapped_profile()}
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "whole": ("JPEG", {"quality": 95, "subsampling": 0, **marks}),
        "halved": ("JPEG", {"quality": 75, "subsampling": 2, "progressive": True, **marks}),
        "lossy": ("WEBP", {"quality": 80, **marks}),
        "lossless": ("WEBP", {"lossless": True}),
        "png": ("PNG", marks),
        "bmp": ("BMP", {}),
        "gif": ("GIF", {}),
    }
    tab = page(collect(built(tmp_path, classifier()))[0])
    for name, (kind, options) in kinds.items():
        path = tmp_path / name
        picture.save(path, kind, **options)
        content = base64.b64encode(path.read_bytes()).decode()
        read = tab.evaluate(READ, [content, {"shape": [3, 48, 64]}])
        pixels_HWC = np.array(read, np.int64).reshape(48, 64, 3)
        # Equal in Chromium 156; another version may decode lossy ones by another library.
        np.testing.assert_allclose(pixels_HWC, np.asarray(decode(str(path), 3, "")), atol=2)

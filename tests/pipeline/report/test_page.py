"""The page in a real browser: no console error, no request, no sideways scrolling on a phone."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.gates import measurement_files, pictures
from pipeline.gates.build_records import Candidate
from pipeline.report import html
from pipeline.report.records import OutputFile, Report
from tests.measurements import SAMPLES, changed
from tests.pictures import PICTURES

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever a browser asks for on its own account, it finds no host.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH; install it to look at the page"
)


@pytest.fixture
def page(report: Callable[..., Report], tmp_path: Path) -> Path:
    """A page with every part in it, plots included."""
    raw = tmp_path / "samples.json"
    measurement_files.write(raw, changed(SAMPLES, "set", id="0" * 64))
    drawn = tmp_path / "pictures.json"
    pictures.write(drawn, PICTURES)
    outputs = {
        name: OutputFile(path=str(path), sha256="0" * 64, bytes=1)
        for name, path in (("samples", raw), ("pictures", drawn))
    }
    whole = changed(report("gates.speedup.min=50"), "stages.1.outputs", **outputs)
    candidate = Candidate(
        backend="onnxruntime",
        precision="int8",
        float_layers=(),
        disagreement=0.0,
        p50_ms=0.1,
        bytes=1000,
        build_s=0.1,
        verdict="chosen",
        reason="the fastest that agrees",
    )
    curves = [
        {"round": number, "student_loss": 1 / number, "divergence_ema": 0.1}
        for number in range(1, 41)
    ]
    whole = changed(whole, curves=curves, candidates=[candidate])
    path = tmp_path / "report.html"
    path.write_text(html.render(whole), encoding="utf-8")
    return path


def browse(page: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    assert CHROMIUM is not None
    home = page.parent / "browser"
    return subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={home}", *flags, page.as_uri()],
        env=os.environ | {"HOME": str(page.parent)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def test_the_page_is_small_and_forbids_the_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text) < 2_000_000
    assert "default-src 'none'" in text
    assert text.count("<svg") == 6
    assert not re.search(r"https?://", text)
    assert "onnxruntime</td>" in text


def requests(page: Path, log: Path) -> tuple[list[str], str]:
    """Return what a page, and not the browser itself, asked the network for, and its console."""
    browsed = browse(page, "--enable-logging=stderr", f"--log-net-log={log}", "--dump-dom")
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    urls = [
        match[1]
        for line in lines
        if "site=file://" in line and (match := re.search(r'"url":"(https?://[^"]+)"', line))
    ]
    return urls, "".join(line for line in browsed.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.slow
@needs_browser
def test_the_browser_shows_it_with_no_error_and_no_request(page: Path, tmp_path: Path) -> None:
    assert requests(page, tmp_path / "net.json") == ([], "")


@pytest.mark.slow
@needs_browser
def test_every_image_is_drawn_and_has_a_text(page: Path) -> None:
    """The policy of the page lets images in it be decoded, and the overlays lie on theirs."""
    text = page.read_text(encoding="utf-8")
    script = (
        "<p id=drawn></p><script>Promise.all([...document.images].map(image => image.decode()))"
        ".then(() => { const boxes = [...document.querySelectorAll('.over')].map(over => "
        "[...over.children].map(image => image.getBoundingClientRect().toJSON())); "
        "const same = boxes.every(([a, b]) => !b || JSON.stringify(a) == JSON.stringify(b));"
        "document.getElementById('drawn').textContent = `drawn ${document.images.length} ${same}`"
        " })</script>"
    )
    policy = "script-src 'unsafe-inline'; default-src 'none'"
    relaxed = page.with_name("drawn.html")
    # The picture of the fixture's distill stage is no picture.
    text = re.sub(r"<h2>Synthetic samples</h2>.*?<img[^>]*>", "", text, flags=re.DOTALL)
    text = text.replace("default-src 'none'", policy).replace("</body>", script + "</body>")
    relaxed.write_text(text, encoding="utf-8")
    browsed = browse(relaxed, "--dump-dom", "--virtual-time-budget=3000")
    # Two images, the first three times more beside its maps, and one map.
    assert re.findall(r'<p id="drawn">(.*?)</p>', browsed.stdout) == ["drawn 6 true"]
    alternatives = re.findall(r'<img[^>]* alt="([^"]*)"', text)
    assert "held-out image 12, labelled a: teacher a, student b, engine b" in alternatives
    assert "where the teacher looks in image 12 for its answer a" in alternatives


@pytest.mark.slow
@needs_browser
def test_a_request_or_an_error_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><img src='http://example.invalid/x.png'><script>nope()</script>",
        encoding="utf-8",
    )
    urls, console = requests(page, tmp_path / "net.json")
    assert "http://example.invalid/x.png" in urls
    assert "nope is not defined" in console


def width_of_content_px(page: Path, width_px: int) -> int:
    """Return how wide a page is in a frame, since a window may not be as narrow as a phone."""
    text = page.read_text(encoding="utf-8")
    inner = page.with_name("inner.html")
    script = "<script>parent.postMessage(document.documentElement.scrollWidth, '*')</script>"
    relaxed = re.sub(r"<meta http-equiv[^>]*>", "", text)
    inner.write_text(relaxed.replace("</body>", script + "</body>"), encoding="utf-8")
    outer = page.with_name("outer.html")
    outer.write_text(
        "<!doctype html><p id=wide></p><script>onmessage = e => "
        "document.getElementById('wide').textContent = 'wide ' + e.data</script>"
        f"<iframe src=inner.html style='width:{width_px}px;height:800px;border:0'></iframe>",
        encoding="utf-8",
    )
    browsed = browse(outer, "--dump-dom", "--virtual-time-budget=3000")
    width = re.search(r"wide (\d+)", browsed.stdout)
    assert width, browsed.stdout[-500:]
    return int(width[1])


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width_px", [390, 1280])
def test_nothing_is_wider_than_the_window(page: Path, width_px: int) -> None:
    assert width_of_content_px(page, width_px) <= width_px

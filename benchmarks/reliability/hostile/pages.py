"""Pages with a stranger's texts in a real browser: what they show, and what they do not do.

A page is compared with the same page of harmless texts: it must have the same elements with the
same attributes. It is opened as it is, and once more without its Content-Security-Policy, so that
it is the escaping that is tested.
"""

import functools
import http.server
import json
import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.reliability.hostile import forgery
from benchmarks.reliability.hostile.scene import Attack, NotSurvivedError, Scene
from benchmarks.reliability.hostile.texts import chosen

_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_COUNT = """() => {
  const found = [];
  for (const node of document.querySelectorAll("*")) {
    const names = Array.from(node.attributes, (a) => a.name).sort();
    found.push([node.nodeName.toLowerCase(), ...names].join(" "));
  }
  return found;
}"""
_STRANGE = (
    "script, iframe, object, embed, form, base, a[href], link[rel=stylesheet], "
    "meta[http-equiv=refresh]"
)
_SETTLE_MS = 300
_NO_NAME = re.compile(r"[/,\"'\[\]{}\\`]")
"""What a file's name, or a list of values on a command line, cannot have."""


class _Seen(NamedTuple):
    """What a browser made of a page."""

    elements: Counter[str]
    requests: list[str]
    strange: int
    harmed: bool
    text: str


@contextmanager
def _browser() -> Iterator[Any]:
    if _CHROMIUM is None:
        raise NotSurvivedError("expected chromium on PATH, which this case needs; there is none")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  (only these cases)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def _look(browser: Any, url: str, picture: Path | None = None) -> _Seen:
    """Open a page, press on what can be opened, and return what came of it."""
    page = browser.new_page(viewport={"width": 1000, "height": 1400})
    requests: list[str] = []
    dialogs: list[str] = []
    page.on("request", lambda request: requests.append(request.url))

    def dismiss(dialog: Any) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.goto(url)
    page.evaluate("() => document.querySelectorAll('details').forEach((d) => (d.open = true))")
    page.wait_for_timeout(_SETTLE_MS)
    if picture is not None:
        page.screenshot(path=str(picture), full_page=True)
    seen = _Seen(
        elements=Counter(page.evaluate(_COUNT)),
        requests=[r for r in requests[1:] if not r.startswith("data:")],
        strange=page.locator(_STRANGE).count(),
        harmed=bool(dialogs) or bool(page.evaluate("() => window.harmed === 1")),
        text=page.inner_text("body"),
    )
    page.close()
    return seen


def check_page(path: Path, harmless: Path, names: tuple[str, ...], picture: Path) -> None:
    """Make sure that a page shows texts and is otherwise what it is with harmless ones.

    Raises:
        NotSurvivedError: It is not.
    """
    without = path.with_name("without-policy.html")
    content, count = _POLICY.subn("", path.read_text(encoding="utf-8"))
    if count != 1:
        raise NotSurvivedError(f"expected one Content-Security-Policy, seen {count}")
    without.write_text(content, encoding="utf-8")
    text = ""
    with _browser() as browser:
        usual = _look(browser, harmless.as_uri())
        for file in (path, without):
            seen = _look(browser, file.as_uri(), picture)
            text = seen.text
            if seen.harmed:
                raise NotSurvivedError(f"{file.name}: expected no script to run, one did")
            if seen.requests or seen.strange:
                wrong = f"{seen.requests[:3]}, {seen.strange} elements"
                raise NotSurvivedError(f"{file.name}: expected no request or link, seen {wrong}")
            expected = usual.elements + Counter({"meta content http-equiv": 0})
            changes = (seen.elements - expected) + (expected - seen.elements)
            changes.pop("meta content http-equiv", None)
            if changes:
                raise NotSurvivedError(f"{file.name}: expected equal elements, seen {changes}")
    visible = " ".join(text.split())
    for name in names:
        if name and " ".join(name.split()) not in visible:
            raise NotSurvivedError(f"expected {name!r} to be read on the page, it is not")


def _report(scene: Scene, variant: int) -> None:
    home = scene.finished()
    texts = chosen(scene, variant)
    scene.project = scene.project.rename(scene.folder / "harmless")
    forgery.forge(scene.project / home.name, texts, is_hostile=False)
    scene.attempt("report", "--out", "page.html", codes=frozenset({0}))
    harmless = scene.project / "page.html"
    scene.project = scene.folder / "project"
    scene.project.mkdir()
    forgery.forge(scene.finished(), texts)
    scene.attempt("report", "--out", "page.html", codes=frozenset({0}))
    visible = tuple(text for text in texts if text.isprintable())
    check_page(scene.project / "page.html", harmless, visible, scene.project / "page.png")


def _sweep(scene: Scene, variant: int) -> None:
    """Sweep over files of weights that a stranger has named, of which none can be read."""
    texts = [text for text in chosen(scene, variant) if text.isprintable()]
    names = [_NO_NAME.sub("_", text)[:80] for text in texts]
    pages = []
    for folder, used in (
        ("harmless", [f"name {n}" for n in range(len(names))]),
        ("project", names),
    ):
        scene.project = scene.folder / folder
        scene.project.mkdir(exist_ok=True)
        (scene.project / "pipeline.toml").write_text(
            '[student]\narch = "resnet8"\n', encoding="utf-8"
        )
        for name in used:
            (scene.project / name).write_bytes(b"x")
        values = ",".join(json.dumps(name) for name in used)
        scene.attempt("sweep", f"teacher.weights={values}", "--to", "teacher", codes=frozenset({1}))
        pages += list((scene.project / ".madpipe").rglob("sweep*.html"))
    harmless, page = pages
    check_page(page, harmless, (), page.with_name("page.png"))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing."""


def _web(scene: Scene, variant: int) -> None:
    """Open the page of a package for browsers whose class names are a stranger's."""
    runtime = os.environ.get("ORT_WEB")
    if runtime is None:
        raise NotSurvivedError("expected ORT_WEB to name the folder of onnxruntime-web")
    texts = chosen(scene, variant)
    forgery.forge(scene.finished(), texts)
    scene.attempt(
        "package", "--for", "web", "--web-runtime", runtime, "--out", "web", codes=frozenset({0})
    )
    handler = functools.partial(_Quiet, directory=str(scene.project / "web"))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        _browser() as browser,
    ):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            _classify(browser, f"http://127.0.0.1:{server.server_address[1]}/", scene.project)
        finally:
            server.shutdown()
            thread.join()


def _classify(browser: Any, url: str, folder: Path) -> None:
    from PIL import Image  # noqa: PLC0415  (only this case)

    image = folder / "image.png"
    Image.new("L", (8, 8), 90).save(image)
    page = browser.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    page.wait_for_selector("body.ready", timeout=60_000)
    page.set_input_files("#file", str(image))
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    page.evaluate("() => document.querySelectorAll('details').forEach((d) => (d.open = true))")
    page.wait_for_timeout(_SETTLE_MS)
    page.screenshot(path=str(folder / "page.png"), full_page=True)
    strange = page.locator("iframe, object, embed, form, a[href], #all img, #all svg, #all script")
    if page.evaluate("() => window.harmed === 1") or strange.count():
        raise NotSurvivedError("expected class names to be text, seen markup")
    if foreign := [request for request in requests if not request.startswith(url)]:
        foreign = [request for request in foreign if not request.startswith(("data:", "blob:"))]
        if foreign:
            raise NotSurvivedError(f"expected no request elsewhere, seen {foreign}")


ATTACKS = (
    Attack("a stranger's texts in the page of a report", _report, 4),
    Attack("a stranger's texts in the page of a sweep", _sweep, 4, is_quick=True),
    Attack("a stranger's texts in the page of a package", _web, 4),
)

"""The page needs no network and shows texts as texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.report import renderers

Report = Callable[..., dict[str, Any]]
MIXED = ("gates.speedup.min=5", "gates.engine_bytes.max=9", "gates.onnx_top1_drop.max=0.1")


def test_html_needs_no_network(report: Report) -> None:
    page = renderers.render("html", report(*MIXED))
    assert "http://" not in page
    assert "https://" not in page
    assert 'src="data:image/png;base64,' in page
    assert "<script" not in page


def test_html_says_the_verdict_first_and_shows_every_part(report: Report) -> None:
    page = renderers.render("html", report("gates.speedup.min=50"))
    assert page.index("Failed") < page.index("<h2>Gates</h2>") < page.index("<h2>Accuracy</h2>")
    assert page.index("<h2>Stages</h2>") < page.index("<h2>Latency</h2>")
    assert "needs n = 459" in page
    assert "params 77 850" in page


def test_html_shows_texts_as_texts(report: Report) -> None:
    made = report()
    made["stages"][0]["metrics"] = {"note": "<script>alert(1)</script>"}
    page = renderers.render("html", made)
    assert "<script>" not in page
    assert "run &lt;all&gt;" in page


def test_picture_that_is_gone_is_left_out(report: Report) -> None:
    made = report()
    made["stages"][0]["outputs"]["picture"]["path"] = "/no/such/picture.png"
    assert "<img" not in renderers.render("html", made)


def test_samples_of_another_kind_leave_the_plots_out(report: Report, tmp_path: Path) -> None:
    made = report()
    raw = tmp_path / "samples.json"
    raw.write_text("[]", encoding="utf-8")
    made["stages"][1]["outputs"]["samples"] = {"path": str(raw), "sha256": "", "bytes": 2}
    assert "each call in the order made" not in renderers.render("html", made)


def test_agreement_on_the_bank_is_never_called_accuracy(report: Report) -> None:
    made = report()
    made |= {"bank_agreement": made["agreement"], "accuracy": {}, "agreement": {}, "paired": {}}
    page = renderers.render("html", made)
    assert "so nothing here is accuracy" in page
    assert "<h2>Accuracy</h2>" not in page
    assert "top-1" not in page

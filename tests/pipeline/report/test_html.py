"""The page needs no network and displays texts as texts."""

from collections.abc import Callable
from pathlib import Path

from pipeline.report import html
from pipeline.report.records import OutputFile, Report
from tests.measurements import changed

Make = Callable[..., Report]
MIXED = ("gates.speedup.min=5", "gates.engine_bytes.max=9", "gates.onnx_top1_drop.max=0.1")


def test_html_needs_no_network(report: Make) -> None:
    page = html.render(report(*MIXED))
    assert "http://" not in page
    assert "https://" not in page
    assert 'src="data:image/png;base64,' in page
    assert "<script" not in page


def test_html_has_the_verdict_first_and_every_part(report: Make) -> None:
    page = html.render(report("gates.speedup.min=50"))
    assert page.index("Failed") < page.index("<h2>Gates</h2>") < page.index("<h2>Accuracy</h2>")
    assert page.index("<h2>Stages</h2>") < page.index("<h2>Latency</h2>")
    assert "needs n = 459" in page
    assert "params 77 850" in page


def test_html_displays_texts_as_texts(report: Make) -> None:
    odd = changed(report(), "stages.0", metrics={"note": "<script>alert(1)</script>"})
    page = html.render(odd)
    assert "<script>" not in page
    assert "run &lt;all&gt;" in page


def test_picture_that_is_gone_is_left_out(report: Make) -> None:
    gone = changed(report(), "stages.0.outputs.picture", path="/no/such/picture.png")
    assert "<img" not in html.render(gone)


def test_samples_of_another_kind_leave_the_plots_out(report: Make, tmp_path: Path) -> None:
    raw = tmp_path / "samples.json"
    raw.write_text("[]", encoding="utf-8")
    output = OutputFile(path=str(raw), sha256="", bytes=2)
    odd = changed(report(), "stages.1.outputs", samples=output)
    assert "each call in order" not in html.render(odd)


def test_what_made_latencies_noisy_is_named(report: Make) -> None:
    noisy = changed(report(), "latency.batches.0.engine", causes=["the clock fell"])
    noisy = changed(noisy, "latency.batches.0.warmup", is_steady=False)
    page = html.render(noisy)
    assert "Latencies of the engine were noisy: the clock fell." in page
    assert "Warming up ended before latencies were steady at batch 1." in page


def test_agreement_on_the_bank_is_never_called_accuracy(on_the_bank: Report) -> None:
    page = html.render(on_the_bank)
    assert "so nothing here is accuracy" in page
    assert "<h2>Accuracy</h2>" not in page
    assert "top-1" not in page


def test_the_page_says_whether_the_student_is_data_free(
    report: Callable[..., Report], on_unlabelled: Report
) -> None:
    assert "<p>data-free: distilled from the teacher" in html.render(report())
    text = html.render(on_unlabelled)
    assert "<p>not data-free: the student learned from 80 unlabelled images" in text
    assert "Agreement with the teacher on unlabelled images" in text
    assert "85.0 %" in text

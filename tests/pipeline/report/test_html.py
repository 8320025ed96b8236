"""The page needs no network and displays texts as texts."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.gates import measurement_files, pictures
from pipeline.report import html
from pipeline.report.records import OutputFile, Report
from tests.measurements import SAMPLES, changed
from tests.pictures import PICTURES

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
    output = OutputFile(path=str(raw), sha256="7" * 64, bytes=2)
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


@pytest.fixture
def with_output(tmp_path: Path, report: Make) -> Callable[[str, bytes], Report]:
    """Return a report whose validate stage has one more output."""

    def add(name: str, content: bytes) -> Report:
        path = tmp_path / f"{name}.out"
        path.write_bytes(content)
        output = OutputFile(path=str(path), sha256="7" * 64, bytes=len(content))
        return changed(report(), "stages.1.outputs", **{name: output})

    return add


Add = Callable[[str, bytes], Report]


def pictures_of(drawn: pictures.Pictures, folder: Path) -> bytes:
    pictures.write(folder / "drawn", drawn)
    return (folder / "drawn").read_bytes()


def test_misclassified_images_have_their_answers_and_a_word_on_sharing_them(
    with_output: Add, tmp_path: Path
) -> None:
    page = html.render(with_output("pictures", pictures_of(PICTURES, tmp_path)))
    assert "<h2>Misclassified images</h2>" in page
    assert "These are real held-out images." in page
    assert "madpipe report --without-pictures" in page
    assert "get 9 of 540 wrong; these are the 2 worst" in page
    assert re.search(r"word-fail\">✗ b <small>80 %", page)
    assert re.search(r"word-pass\">✓ a <small>99 %", page)
    assert "the teacher (2 by 2) and of the student (2 by 2)" in page
    assert "nothing speaks for it</figcaption>" in page


def test_pictures_of_the_bank_are_called_synthetic(with_output: Add, tmp_path: Path) -> None:
    synthetic = changed(PICTURES, kind="bank", wrong=2)
    page = html.render(with_output("pictures", pictures_of(synthetic, tmp_path)))
    assert "<h2>Synthetic images on which networks disagree</h2>" in page
    assert "these are all" in page
    assert "real held-out images" not in page


def test_why_a_network_has_no_maps_is_said(with_output: Add, tmp_path: Path) -> None:
    without = changed(PICTURES, maps_absent={"teacher": "works on tokens"})
    page = html.render(with_output("pictures", pictures_of(without, tmp_path)))
    assert "No maps of the teacher: it works on tokens." in page


def test_a_page_to_share_has_no_image(with_output: Add, tmp_path: Path) -> None:
    whole = with_output("pictures", pictures_of(PICTURES, tmp_path))
    page = html.render(whole, has_pictures=False)
    assert "<img" not in page
    assert "Images are left out of this page." in page
    assert "Misclassified" not in page


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": "madpipe.pictures/9"}'])
def test_pictures_that_cannot_be_read_and_runs_without_any_leave_their_part_out(
    with_output: Add, report: Make, content: bytes
) -> None:
    for page in (html.render(with_output("pictures", content)), html.render(report())):
        assert "Misclassified" not in page
        assert "<h2>Accuracy</h2>" in page


def test_names_of_classes_are_displayed_as_texts(with_output: Add, tmp_path: Path) -> None:
    odd = changed(PICTURES, "pictures.0.worst", label='"><script>alert(1)</script>')
    page = html.render(with_output("pictures", pictures_of(odd, tmp_path)))
    assert "<script" not in page


def raw(folder: Path, dataset_id: str) -> bytes:
    measurement_files.write(folder / "raw", changed(SAMPLES, "set", id=dataset_id))
    return (folder / "raw").read_bytes()


def test_few_classes_have_a_table_of_what_is_taken_for_what(
    with_output: Add, tmp_path: Path
) -> None:
    page = html.render(with_output("samples", raw(tmp_path, "0" * 64)))
    assert "<h3>What is taken for what</h3>" in page
    assert '<td class="number hit" style="--part: 80%">1</td>' in page


def test_raw_samples_of_other_images_are_not_counted(with_output: Add, tmp_path: Path) -> None:
    page = html.render(with_output("samples", raw(tmp_path, "1" * 64)))
    assert "What is taken for what" not in page


def test_many_classes_have_a_picture(with_output: Add, tmp_path: Path) -> None:
    names = [f"class {k}" for k in range(21)]
    whole = changed(with_output("samples", raw(tmp_path, "0" * 64)), "set", classes=names)
    page = html.render(whole)
    assert 'aria-label="Answers of the engine by label"' in page
    assert '<table class="matrix">' not in page

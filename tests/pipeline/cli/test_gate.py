"""gate and report work on what is stored and measure nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.project import Project
from pipeline.run_pipeline import run_pipeline

Call = Callable[..., tuple[int, str, str]]
Open = Callable[..., Project]


@pytest.fixture(autouse=True)
def _stored(project: Open) -> None:
    run_pipeline(project(), ["all"], force=(), sinks=[], command="run all", inconclusive=4)


def test_gate_judges_what_is_stored(madpipe: Call) -> None:
    code, out, err = madpipe("gate")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        (
            "gate      pass         student_top1_drop: 0.007407 in [-6.917e-05, 0.01727], "
            "wanted at most 0.03, n = 540"
        ),
        (
            "gate      pass         engine_top1_drop: 0 in [-0.004985, 0.004985], "
            "wanted at most 0.005, n = 540"
        ),
        "gate      pass         speedup: 5 in [4.6, 5.4], wanted at least 2, n = 400",
    ]


def test_gate_fails_by_the_settings_of_now(madpipe: Call) -> None:
    code, out, _ = madpipe("gate", "--set", "gates.speedup.min=50")
    assert code == 3
    assert "gate      fail         speedup" in out


@pytest.mark.parametrize(("choice", "expected"), [((), 4), (("pass",), 0), (("fail",), 3)])
def test_inconclusive_gate_exits_as_chosen(
    madpipe: Call, choice: tuple[str, ...], expected: int
) -> None:
    arguments = ["gate", "--set", "gates.speedup.min=5"]
    arguments += [f"--inconclusive={code}" for code in choice]
    assert madpipe(*arguments)[0] == expected


def test_a_gate_of_nothing_says_so(madpipe: Call) -> None:
    code, out, err = madpipe("gate", "--set", "gates={}")
    assert (code, out, err) == (0, "", "nothing was judged: the settings have no gates\n")


def test_gate_as_json_is_one_record_a_line(madpipe: Call) -> None:
    records = [json.loads(line) for line in madpipe("gate", "--json")[1].splitlines()]
    assert [(record["kind"], record["name"], record["verdict"]) for record in records] == [
        ("gate", "student_top1_drop", "pass"),
        ("gate", "engine_top1_drop", "pass"),
        ("gate", "speedup", "pass"),
    ]


def test_json_report_goes_to_standard_output(madpipe: Call, tmp_path: Path) -> None:
    code, out, _ = madpipe("report", "--format", "json")
    assert code == 0
    assert json.loads(out)["schema"] == "madpipe.report/1"
    assert madpipe("report", "--format", "json", "--out", "r.json")[1] == "r.json\n"
    assert json.loads((tmp_path / "r.json").read_bytes()) == json.loads(out)


def test_a_page_is_written_to_the_working_folder(madpipe: Call, tmp_path: Path) -> None:
    page = tmp_path / ".madpipe/report.html"
    assert madpipe("report", "--format", "html") == (0, f"{page}\n", "")
    assert page.stat().st_size > 500


def test_without_a_format_a_reader_has_the_report_on_the_terminal_and_the_page_beside_it(
    madpipe: Call, tmp_path: Path
) -> None:
    page = tmp_path / ".madpipe/report.html"
    code, out, err = madpipe("report")
    assert code == 0
    assert out.startswith("<!-- madpipe report -->\n## madpipe: pass")
    assert err == f"the same as a page: {page}\n"
    assert page.stat().st_size > 500


@pytest.mark.parametrize(
    ("form", "beginning"),
    [("json", "{"), ("markdown", "<!-- madpipe report -->"), ("junit", "<?xml")],
)
def test_a_report_without_a_file_is_printed_and_leaves_none(
    madpipe: Call, tmp_path: Path, form: str, beginning: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = madpipe("report", "--format", form, "--out", "-")
    assert code == 0
    assert out.startswith(beginning)
    assert madpipe("report", "--format", form) == (0, out, "")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_page_to_share_has_no_image(madpipe: Call, tmp_path: Path) -> None:
    page = tmp_path / ".madpipe/report.html"
    madpipe("report", "--format", "html")
    assert "<img" in page.read_text(encoding="utf-8")
    madpipe("report", "--format", "html", "--without-pictures")
    assert "<img" not in page.read_text(encoding="utf-8")


def test_report_that_cannot_be_written_names_its_path(madpipe: Call) -> None:
    assert madpipe("report", "--out", "no/such/folder.html") == (
        1,
        "",
        (
            "no/such/folder.html: cannot be written (No such file or directory); "
            "give another path with --out\n"
        ),
    )


def test_gate_without_measurements_is_exit_code_1(madpipe: Call, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "pipeline.toml").touch()
    code, _, err = madpipe("gate", "--config", "other/pipeline.toml")
    assert (code, err) == (
        1,
        f"{tmp_path}/other/.madpipe: holds no measurements (none stored); madpipe run validate\n",
    )

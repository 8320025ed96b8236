"""The page of a sweep says which combination is the smallest that passes, and why no other."""

import re
from pathlib import Path

import pytest

from pipeline.sweep import page, pareto
from pipeline.sweep.records import Row, Sweep, to_json
from tests.pipeline.report.test_page import needs_browser, requests, width_of_content_px
from tests.pipeline.sweep.rows import gate, row


def sweep(*rows: Row, is_judged: bool = True, is_interrupted: bool = False) -> Sweep:
    finished = pareto.with_fronts(rows)
    smallest = pareto.smallest(finished) if is_judged else None
    return Sweep(
        command="madpipe sweep student.arch=<a>,b",
        started_utc="2026-01-01T00:00:00+00:00",
        elapsed_s=100.0,
        stage="validate" if is_judged else "distill",
        is_judged=is_judged,
        rows=tuple(finished),
        smallest=smallest.number if smallest else None,
        options=f"--set student.arch=net{smallest.number}" if smallest else None,
        notes=("a note",),
        is_interrupted=is_interrupted,
        environment={"cpu": "a processor"},
    )


WHOLE = sweep(
    row(1, drop=0.02, ms=2.0, size=90_000),
    row(2, drop=0.05, ms=1.0, size=40_000),
    row(3, drop=0.06, ms=3.0, size=99_000, gates=(gate("fail"),)),
    row(4, state="failed"),
)


def test_the_smallest_is_marked_and_its_options_are_there() -> None:
    text = page.render(WHOLE)
    assert "Smallest that passes: net2" in text
    assert "<code>--set student.arch=net2</code>" in text
    assert text.count('class="word word-pass">smallest') == 1
    assert "3 of 4 combinations are done, 1 failed." in text
    assert "&lt;a&gt;" in text
    assert "<a>" not in text


def test_why_others_are_not_admissible_is_there() -> None:
    text = page.render(WHOLE)
    assert "student_top1_drop fail: because" in text
    assert "failed for a reason" in text


def test_there_is_a_plot_for_each_front_with_every_measured_combination() -> None:
    text = page.render(WHOLE)
    plots = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert ["latency" in plots[0], "KiB" in plots[1]] == [True, True]
    for plot in plots:
        assert [f"net{number}" in plot for number in (1, 2, 3, 4)] == [True, True, True, False]


def test_many_combinations_are_numbered_in_the_plots() -> None:
    text = page.render(sweep(*(row(number, drop=0.1 / number) for number in range(1, 11))))
    assert "net10" not in "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (("student.arch=resnet8",), "resnet8"),
        (("student.arch=resnet8", "distill.rounds=200"), "arch=resnet8 rounds=200"),
        (("teacher.arch=a", "student.arch=b"), "teacher.arch=a student.arch=b"),
    ],
)
def test_names_are_as_short_as_they_can_be(changes: tuple[str, ...], name: str) -> None:
    assert page.short_names([Row(number=1, changes=changes, state="done")]) == {1: name}


@pytest.mark.parametrize(
    ("rows", "title"),
    [
        ([row(1, gates=(gate("fail"),))], "No combination passes"),
        ([row(1, gates=())], "Not judged"),
        ([row(1, gates=(gate("fail"),)), row(2, state="unfinished")], "No combination passes yet"),
    ],
)
def test_where_none_passes_the_title_says_so(rows: list[Row], title: str) -> None:
    text = page.render(sweep(*rows, is_interrupted=True))
    assert f'">{title}</h1>' in text
    assert "the same command goes on from here" in text


def test_without_validate_the_page_has_figures_and_no_verdict() -> None:
    from msgspec.structs import replace

    done = Row(number=1, changes=("a=1", "b=2"), state="done", figures={"agreement": 0.5})
    text = page.render(sweep(replace(done, obstacles=("not judged",)), is_judged=False))
    assert "agreement 0.5" in text
    assert "--to validate measures and judges" in text
    assert "<svg" not in text


def test_what_is_noisy_or_incomparable_is_noted() -> None:
    from msgspec.structs import replace

    noisy = replace(row(1), noise=("other processes",))
    text = page.render(sweep(noisy))
    assert "The latency of net1 was noisy: other processes." in text
    assert "a note" in text


def test_the_json_is_what_it_was_made_from() -> None:
    import msgspec

    assert msgspec.json.decode(to_json(WHOLE), type=Sweep) == WHOLE


@pytest.mark.slow
@needs_browser
def test_a_browser_shows_it_with_no_error_no_request_and_nothing_too_wide(tmp_path: Path) -> None:
    path = tmp_path / "sweep.html"
    path.write_text(page.render(WHOLE), encoding="utf-8")
    assert requests(path, tmp_path / "net.json") == ([], "")
    assert width_of_content_px(path, 390) <= 390

"""The curves of a run as lines of JSON, and what they come to."""

import json
from pathlib import Path

import pytest

from stages.distill import curves
from stages.distill.metrics import Window


def _window(number: int, **more: float) -> Window:
    return Window(
        round=number,
        student_loss=1.0 / number,
        generator_loss=-1.0,
        agreement=0.5,
        class_entropy=0.9,
        largest_class_share=0.2,
        **more,
    )


def test_there_is_a_line_for_each_window_and_it_comes_back(tmp_path: Path) -> None:
    windows = [_window(1, divergence_generator=0.25), _window(2, student_top1=0.5)]
    curves.save(tmp_path / "curves.jsonl", windows)
    lines = (tmp_path / "curves.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["round"] for line in lines] == [1, 2]
    assert "student_top1" not in json.loads(lines[0])
    assert curves.load(tmp_path / "curves.jsonl") == windows


def test_accuracy_over_time_has_a_mean_a_variance_a_best_and_a_last() -> None:
    found = curves.figures(
        [_window(i + 1, student_top1=top1) for i, top1 in enumerate((0.2, 0.8, 0.5))]
    )
    assert found["monitor_top1_mean"] == pytest.approx(0.5)
    assert found["monitor_top1_variance"] == pytest.approx(0.06)
    assert (found["monitor_top1_best"], found["monitor_top1_last"]) == (0.8, 0.5)


def test_divergences_are_means_over_the_windows_that_measured_them() -> None:
    found = curves.figures(
        [_window(1, divergence_ema=0.2), _window(2), _window(3, divergence_ema=0.4)]
    )
    assert found["divergence_ema"] == pytest.approx(0.3)
    assert "divergence_generator" not in found


def test_without_a_monitor_there_is_no_accuracy() -> None:
    assert not [name for name in curves.figures([_window(1)]) if name.startswith("monitor")]
    assert curves.figures([]) == {}

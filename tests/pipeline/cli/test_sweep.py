"""sweep runs a stage for every combination and compares what came out."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stages.tiny import TINY

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _config(tmp_path: Path) -> None:
    lines = []
    for table, values in TINY.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    (tmp_path / "pipeline.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("axis", ["distill.alpha", "=1", "distill.alpha="])
def test_what_is_no_list_of_values_is_refused(madpipe: Call, axis: str) -> None:
    code, _, err = madpipe("sweep", axis)
    assert code == 2
    assert err == f"sweep: is no KEY=VALUE,VALUE ({axis}); give a key and values\n"


def test_a_wrong_value_is_refused_before_anything_runs(madpipe: Call, tmp_path: Path) -> None:
    code, _, err = madpipe("sweep", "distill.alpha=0.5,2")
    assert code == 2
    assert "distill.alpha" in err
    assert not (tmp_path / ".madpipe").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("distill.alpha=0.2", "distill.alpha=0.3"),
        ("distill.alpha=0.2,0.5", "--set", "distill.alpha=0.4"),
    ],
)
def test_a_key_that_is_given_twice_is_refused(madpipe: Call, words: tuple[str, ...]) -> None:
    code, _, err = madpipe("sweep", *words)
    assert (code, err) == (
        2,
        "sweep: is given twice (distill.alpha); name it once, with all its values\n",
    )


@pytest.mark.parametrize("listed", ["it's,b", "[1,2", "1],2"])
def test_a_value_that_does_not_end_is_refused(madpipe: Call, listed: str) -> None:
    code, _, err = madpipe("sweep", f"teacher.weights={listed}")
    assert code == 2
    assert err.startswith(f"sweep: a quote or bracket has no other end ({listed})")


@pytest.mark.parametrize(
    ("listed", "values"),
    [
        ("1,2", ["1", "2"]),
        ('["a","b"],["c"]', ['["a","b"]', '["c"]']),
        ("'x,y',z", ["'x,y'", "z"]),
        ("{a=1,b=2}", ["{a=1,b=2}"]),
    ],
)
def test_commas_within_a_value_do_not_split_it(listed: str, values: list[str]) -> None:
    from pipeline.cli.sweep import _values

    assert _values(listed) == values


def test_what_the_machine_lacks_is_a_row_with_its_reason(madpipe: Call) -> None:
    words = ("sweep", "build.backend=tensorrt,tensorrt-rtx", "--stage", "build")
    code, out, _ = madpipe(*words)
    assert code == 1
    assert "[2/2]" in out
    assert "needs a package that is not installed (tensorrt)" in out
    assert "needs a GPU to build for" in out


def test_an_unknown_stage_is_refused(madpipe: Call) -> None:
    assert madpipe("sweep", "seed=0,1", "--stage", "nonsense")[0] == 2


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_every_combination_is_a_row_and_a_second_sweep_runs_nothing(madpipe: Call) -> None:
    words = ("sweep", "distill.alpha=0.5,0.95", "distill.lambda1=0,1", "--json")
    code, out, err = madpipe(*words)
    rows = json.loads(out)
    assert code == 0, err
    assert [(row["distill.alpha"], row["distill.lambda1"]) for row in rows] == [
        ("0.5", "0"), ("0.5", "1"), ("0.95", "0"), ("0.95", "1")
    ]  # fmt: skip
    assert all("bank_agreement" in row and "seconds" in row for row in rows)
    again = madpipe(*words)
    assert json.loads(again[1]) == rows
    assert "stored" in again[2] or "hit" in again[2]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_combination_that_fails_is_a_row_and_the_code_is_1(madpipe: Call) -> None:
    code, out, _ = madpipe("sweep", "distill.student_learning_rate=0.05,1e30", "--json")
    trained, failed = json.loads(out)
    assert code == 1
    assert "error" not in trained
    assert "not finite" in failed["error"] or "collapsed" in failed["error"]

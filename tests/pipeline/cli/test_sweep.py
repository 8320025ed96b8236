"""sweep runs a stage for every combination and compares what came out."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import Interrupted
from tests.stages.tiny import TINY

Call = Callable[..., tuple[int, str, str]]
QUICK = tuple(
    word
    for change in (
        "teacher.epochs=1",
        "distill.rounds=10",
        "build.backend=onnxruntime",
        "build.precision=fp32",
        "validate.batch_sizes=[1]",
        "validate.teacher_engine=false",
    )
    for word in ("--set", change)
)
"""Settings of a chain that need not be good."""


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


def test_what_the_machine_lacks_is_a_row_with_its_reason(madpipe: Call) -> None:
    words = ("sweep", "build.backend=tensorrt,tensorrt-rtx", "--stage", "build")
    code, out, _ = madpipe(*words)
    assert code == 1
    assert "[2/2]" in out
    assert "needs a package that is not installed (tensorrt)" in out
    assert "needs a GPU to build for" in out


def test_an_unknown_stage_is_refused(madpipe: Call) -> None:
    assert madpipe("sweep", "seed=0,1", "--stage", "nonsense")[0] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--slurm", "gpus_per_node=1"), "--slurm: has no meaning without --executor slurm"),
        (("--executor", "slurm", "--slurm", "gpus"), "--slurm: is no KEY=VALUE (gpus)"),
        (
            ("--executor", "slurm", "--slurm", "cluster=local", "--slurm", "colour=red"),
            "--slurm: is no parameter of submitit",
        ),
    ],
)
def test_wrong_parameters_of_a_cluster_are_refused(
    madpipe: Call, words: tuple[str, ...], message: str
) -> None:
    code, _, err = madpipe("sweep", "seed=0,1", *words)
    assert code == 2
    assert err.startswith(message)


@pytest.mark.parametrize("out", [".", "nowhere/sweep.html", "sweep.json", "beside.html"])
def test_a_page_that_cannot_be_written_is_refused_before_anything_runs(
    madpipe: Call, tmp_path: Path, out: str
) -> None:
    (tmp_path / "beside.json").mkdir()
    code, _, err = madpipe("sweep", "seed=0,1", "--out", out)
    assert code == 2
    assert err.startswith("--out: ")
    assert not (tmp_path / ".madpipe").exists()


def test_why_a_sweep_ended_comes_before_what_keeps_its_page_from_being_written(
    madpipe: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_words: Any, **_options: Any) -> None:
        (tmp_path / "page.json").mkdir()
        raise Interrupted("madpipe", "interrupted", "the same command goes on from here")

    monkeypatch.setattr("pipeline.sweep.run.run_pipeline", stop)
    code, _, err = madpipe("sweep", "distill.alpha=0.2", "--out", "page.html")
    assert (code, err) == (130, "madpipe: interrupted; the same command goes on from here\n")


def test_a_cluster_that_is_not_here_is_unavailable(
    madpipe: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    code, _, err = madpipe("sweep", "seed=0,1", "--executor", "slurm")
    assert code == 5
    assert err.startswith("--executor slurm: cannot be used here (slurm: ")


def rows_of(out: str) -> list[dict[str, Any]]:
    """Return the rows that a sweep emitted as JSON lines, by number."""
    events = [json.loads(line) for line in out.splitlines()]
    rows = [event for event in events if event["kind"] == "combination_done"]
    return sorted(rows, key=lambda row: int(row["combination"]))


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_every_combination_is_a_row_and_a_second_sweep_runs_nothing(madpipe: Call) -> None:
    words = ("sweep", "distill.alpha=0.5,0.95", "distill.lambda1=0,1", "--json", *QUICK)
    code, out, err = madpipe(*words)
    rows = rows_of(out)
    assert code == 0, err
    assert [row["changes"] for row in rows] == [
        ["distill.alpha=0.5", "distill.lambda1=0"],
        ["distill.alpha=0.5", "distill.lambda1=1"],
        ["distill.alpha=0.95", "distill.lambda1=0"],
        ["distill.alpha=0.95", "distill.lambda1=1"],
    ]
    assert all("bank_agreement" in row["figures"] and row["seconds"] > 0 for row in rows)
    code, out, _ = madpipe(*words)
    again = rows_of(out)
    assert [row | {"time_s": 0} for row in again] == [row | {"time_s": 0} for row in rows]
    ended = [json.loads(line) for line in out.splitlines() if '"stage_done"' in line]
    assert {event["status"] for event in ended} == {"hit"}


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_combination_that_fails_is_a_row_and_the_others_go_on(
    madpipe: Call, tmp_path: Path
) -> None:
    assert madpipe("run", "teacher")[0] == 0
    words = ("sweep", "distill.student_learning_rate=1e30,0.05", "--jobs", "2", "--json")
    code, out, _ = madpipe(*words, "--out", "page.html")
    failed, trained = rows_of(out)
    assert code == 1
    assert (failed["state"], trained["state"]) == ("failed", "done")
    assert "not finite" in failed["error"] or "collapsed" in failed["error"]
    assert "bank_agreement" in trained["figures"]
    last = json.loads(out.splitlines()[-1])
    assert (last["kind"], last["exit_code"], last["page"]) == ("sweep_done", 1, "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert failed["error"].split(";")[0].split("(")[0] in page
    assert not list((tmp_path / ".madpipe" / "sweep").glob("*-*"))


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_smallest_that_passes_is_marked_and_its_option_selects_it(
    madpipe: Call, tmp_path: Path
) -> None:
    """Gates are judged anew for nothing, so each sweep after the first only reads."""
    words = ("sweep", "student.arch=wrn16-1,resnet8", "--to", "validate", *QUICK)
    limits = ("--set", "gates={student_top1_drop={max=0.99}}")
    code, out, _ = madpipe(*words, *limits)
    assert code == 0
    document = json.loads((tmp_path / ".madpipe" / "sweep.json").read_text("utf-8"))
    options = shlex.split(document["options"])
    assert f"  {document['options']}\n" in out
    # With what is fixed for the sweep: without it, other stages would run.
    assert (document["smallest"], options) == (
        2,
        [*QUICK, *limits, "--set", "student.arch=resnet8"],
    )
    assert [row["loss"]["network"] for row in document["rows"]] == ["engine", "engine"]
    # What it selects is stored, so that the run is nothing but hits.
    code, out, _ = madpipe("run", "all", *options, "--json")
    statuses = [json.loads(line).get("status") for line in out.splitlines()]
    assert code == 0
    assert [status for status in statuses if status] == ["hit"] * 5
    # Commands that speak of the last run refuse the settings of another one.
    assert madpipe("gate", *options)[0] == 0
    assert madpipe("report", "--format", "json", *options)[0] == 0
    for command in ("gate", "report", "package", "baseline kept"):
        code, _, err = madpipe(*command.split(), *options[:-1], "student.arch=wrn16-1")
        assert code == 2
        assert 'distill: student.arch: "resnet8" -> "wrn16-1"' in err, command
    # None passes: each has a failed gate.
    code, out, _ = madpipe(*words, "--set", "gates={student_top1_drop={max=-0.5}}")
    assert code == 3
    assert "student.arch=resnet8: student_top1_drop fail: " in out
    # None passes, and more samples would decide.
    code, out, _ = madpipe(*words, "--set", "gates={engine_p99_ms={max=1000}}")
    assert code == 4
    assert "engine_p99_ms inconclusive: " in out

"""baseline keeps what compare needs, compare says why it cannot, comment writes and warns."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.project import Project
from pipeline.run_pipeline import run_pipeline
from tests.github_api import CommentsApi, comments_api

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def kept(stored_with_samples: Project, madpipe: Call) -> str:
    """The report of a run, kept as baseline."""
    assert stored_with_samples.store.newest("validate")
    assert madpipe("baseline", "main") == (0, "main/report.json\n", "")
    return "main/report.json"


def test_a_baseline_is_enough_where_nothing_else_is_left(
    kept: str, madpipe: Call, tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "main", tmp_path / "other")
    shutil.rmtree(tmp_path / ".madpipe")
    bound = ("--set", "compare={}", "--set", "compare.engine_bytes.worse_relative=0.1")
    code, out, err = madpipe("compare", kept, "other", *bound, "--out", "c.md")
    assert (code, err) == (0, "")
    assert out == (
        "gate      pass         engine_bytes.worse_relative: 1000 to 1000, worse by 0 in [0, 0], "
        "wanted at most 0.1, n = 1\n"
    )
    text = (tmp_path / "c.md").read_text(encoding="utf-8")
    assert text.startswith("### madpipe: against the baseline: pass\n")


def test_nothing_measured_is_no_baseline(
    project: Callable[..., Project], madpipe: Call, tmp_path: Path
) -> None:
    run_pipeline(project(), ["distill"], force=(), sinks=[], command="run", inconclusive=4)
    code, _, err = madpipe("baseline", "main")
    assert code == 1
    assert "the last run measured nothing (validate absent or failed)" in err
    assert not (tmp_path / "main").exists()


def test_a_baseline_that_cannot_be_written_is_told(
    kept: str, madpipe: Call, tmp_path: Path
) -> None:
    code, _, err = madpipe("baseline", kept)
    assert code == 1
    assert "cannot be written (File exists); give another folder" in err
    assert (tmp_path / kept).is_file()


@pytest.fixture
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a workflow whose step has a summary."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("madpipe.report/1", "madpipe.report/0"), "another version"),
        (lambda text: text[:100], "is no report"),
    ],
)
@pytest.mark.usefixtures("summary")
def test_a_baseline_of_another_schema_is_an_error_and_a_text_that_says_so(
    kept: str, madpipe: Call, tmp_path: Path, damage: Callable[[str], str], message: str
) -> None:
    path = tmp_path / kept
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    code, out, err = madpipe("compare", kept, ".", "--out", "c.md")
    assert (code, out) == (1, "")
    assert message in err.splitlines()[-1]
    assert err.startswith("::warning title=madpipe%3A not compared::main/report.json")
    for name in ("c.md", "summary.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "against the baseline: not compared" in text
        assert message in text


def test_samples_of_another_run_are_told_from_those_of_the_report(
    kept: str, madpipe: Call, tmp_path: Path
) -> None:
    samples = tmp_path / "main" / "samples.json"
    samples.write_text(samples.read_text(encoding="utf-8") + " ", encoding="utf-8")
    code, _, err = madpipe("compare", kept, ".")
    assert code == 1
    assert "is damaged, or of another run than report.json (sha256 " in err
    assert "keep both of one run: madpipe baseline FOLDER" in err


def test_another_teacher_is_noted_beside_the_verdicts(
    kept: str, madpipe: Call, tmp_path: Path
) -> None:
    report = tmp_path / kept
    document = json.loads(report.read_bytes())
    teacher = {"weights": {"path": "w", "sha256": "a" * 64, "bytes": 1}}
    document["stages"].append(document["stages"][0] | {"name": "teacher", "outputs": teacher})
    report.write_text(json.dumps(document), encoding="utf-8")
    code, out, err = madpipe("compare", kept, ".")
    assert code == 4
    assert "latency_ratio: the teachers differ" in out
    assert err.startswith("The teachers differ (sha256 aaaaaaaaaaaa in A, unknown in B)")


@pytest.mark.parametrize(
    "form", ["bencher", "github-benchmark-smaller", "gitlab-codequality", "gitlab-metrics"]
)
@pytest.mark.usefixtures("kept")
def test_report_prints_the_forms_of_other_services(madpipe: Call, form: str) -> None:
    code, out, err = madpipe("report", "--format", form)
    assert (code, err) == (0, "")
    assert ("# EOF" in out) if form == "gitlab-metrics" else json.loads(out) is not None


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CommentsApi]:
    """A server of comments, and the variables of a workflow that lead there."""
    with comments_api() as server:
        event = tmp_path / "event.json"
        event.write_text('{"pull_request": {"number": 7}}', encoding="utf-8")
        (tmp_path / "a.md").write_text("text", encoding="utf-8")
        for name, value in {
            "GITHUB_API_URL": server.url,
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_TOKEN": "ghs_secret",
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_WORKFLOW": "w",
            "GITHUB_JOB": "j",
            "GITHUB_ACTIONS": "true",
        }.items():
            monkeypatch.setenv(name, value)
        yield server


def test_comment_writes_and_prints_the_address(api: CommentsApi, madpipe: Call) -> None:
    assert madpipe("comment", "a.md") == (0, "https://github.example/o/r/pull/7#0\n", "")
    assert madpipe("comment", "a.md", "--key", "other")[0] == 0
    assert madpipe("comment", "a.md", "--pull-request", "7")[0] == 0
    assert len(api.comments) == 2


def test_a_comment_that_is_refused_warns_and_fails(api: CommentsApi, madpipe: Call) -> None:
    api.status = 403
    code, out, err = madpipe("comment", "a.md")
    assert (code, out) == (1, "")
    assert err.startswith("::warning title=madpipe%3A no comment::http://127.0.0.1:")
    assert "pull-requests: write" in err
    assert "ghs_secret" not in err


@pytest.mark.usefixtures("api")
def test_a_comment_of_no_text_or_outside_of_a_workflow_is_refused(
    madpipe: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = madpipe("comment", "absent.md")
    assert (code, "absent.md: is no text that can be read" in err) == (1, True)
    monkeypatch.delenv("GITHUB_ACTIONS")
    monkeypatch.delenv("GITHUB_REPOSITORY")
    code, _, err = madpipe("comment", "a.md")
    assert (code, err[:58]) == (2, "GITHUB_REPOSITORY: names no repository as OWNER/NAME (abse")

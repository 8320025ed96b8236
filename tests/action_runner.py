"""A runner of GitHub Actions in small: it does the steps of action.yml as GitHub's own does.

Expressions are those that the action uses: names of contexts, `==`, `!=`, `&&`, `||`, `!`,
`toJSON(matrix)` and the functions of a step's status. Scripts run in a real bash, with a madpipe
on PATH that runs this code; the cache is a folder.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.flow.processes import ENTRY

ROOT = Path(__file__).parent.parent
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
_NAME = re.compile(r"(?<![\w.'-])(github|inputs|steps|runner|env)\.([\w.-]+)")
_NOT_INHERITED = {"MADPIPE_HOME", "GITHUB_TOKEN", "GITHUB_API_URL"}
BASH = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c"]


@dataclass(slots=True)
class Runner:
    """One run of the action in a workspace of its own."""

    folder: Path
    cache: Path
    event_name: str = "push"
    event: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    run_id: int = 1
    context: dict[str, str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    """Standard output and error of each step that ran, by its name."""

    def __post_init__(self) -> None:
        """Make the workspace and what the steps see."""
        base = self.event.get("pull_request", {}).get("base", {}).get("ref", "")
        github = {
            "base_ref": base,
            "ref_name": "7/merge" if base else self.event.get("branch", "main"),
            "ref_type": "branch",
            "sha": f"sha{self.run_id}",
            "run_id": str(self.run_id),
            "run_attempt": "1",
            "event_name": self.event_name,
            "event.repository.default_branch": "main",
            "token": "ghs_secret",
        }
        self.context = {f"github.{name}": value for name, value in github.items()}
        self.context |= {"runner.os": "Linux", "runner.arch": "X64"}
        for name, declared in ACTION["inputs"].items():
            value = self.inputs.get(name, str(declared["default"]))
            self.context[f"inputs.{name}"] = self.text(value)
        self.work.mkdir(parents=True)
        self.cache.mkdir(exist_ok=True)
        (self.work / "pipeline.toml").touch()
        (self.folder / "event.json").write_text(json.dumps(self.event), encoding="utf-8")
        (self.folder / "bin").mkdir()
        for name, arguments in (("madpipe", f'-c "{ENTRY}"'), ("python", "")):
            program = self.folder / "bin" / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', "utf-8")
            program.chmod(0o755)

    @property
    def work(self) -> Path:
        """Return the workspace."""
        return self.folder / "work"

    @property
    def summary(self) -> str:
        """Return the summary of all steps."""
        path = self.folder / "summary.md"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def run(self) -> str:
        """Do every step but the installation, and return what the job concludes."""
        conclusion = "success"
        for step in ACTION["runs"]["steps"]:
            condition = step.get("if", "success()")
            if step["name"] == "Install" or not self._is_met(condition, conclusion):
                continue
            outcome = self._script(step) if "run" in step else self._cache(step)
            if "id" in step:
                self.context[f"steps.{step['id']}.outcome"] = outcome
            if outcome != "success":
                conclusion = outcome
        return conclusion

    def text(self, template: str) -> str:
        """Return a text with its expressions evaluated."""
        return re.sub(r"\$\{\{(.*?)\}\}", lambda match: str(self._value(match[1])), template)

    def _value(self, expression: str) -> Any:
        code = expression.replace("toJSON(matrix)", "'null'").replace("&&", " and ")
        code = re.sub(r"!(?!=)", " not ", code.replace("||", " or "))
        code = _NAME.sub(lambda match: f"context.get('{match[0]}', '')", code)
        functions = {"cancelled": lambda: False, "always": lambda: True}
        return eval(code.strip(), {"context": self.context, **functions})  # noqa: S307  (of action.yml)

    def _is_met(self, condition: str, conclusion: str) -> bool:
        is_of_status = re.search(r"always\(\)|cancelled\(\)|success\(\)", condition)
        if condition == "success()" or not is_of_status:
            is_met = conclusion == "success"
            return is_met and (condition == "success()" or bool(self._value(condition[3:-2])))
        return bool(self._value(condition.removeprefix("${{").removesuffix("}}")))

    def _script(self, step: dict[str, Any]) -> str:
        output = self.folder / "output"
        output.write_text("", encoding="utf-8")
        given_by_runner = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKFLOW": "madpipe",
            "GITHUB_JOB": "gate",
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "RUNNER_OS": "Linux",
            "RUNNER_ARCH": "X64",
        }
        variables = {name: self.text(str(value)) for name, value in step.get("env", {}).items()}
        inherited = {
            k: v for k, v in os.environ.items() if k not in {"MADPIPE_HOME", "GITHUB_TOKEN"}
        }
        done = subprocess.run(
            [*BASH, step["run"]],
            cwd=self.work,
            env=inherited | given_by_runner | self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        self.logs[step["name"]] = done.stdout + done.stderr
        for line in output.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            self.context[f"steps.{step['id']}.outputs.{name}"] = value
        return "success" if done.returncode == 0 else "failure"

    def _cache(self, step: dict[str, Any]) -> str:
        """Save to the cache or restore from it; every other action does nothing here."""
        values = {name: self.text(str(value)) for name, value in step["with"].items()}
        path = self.work / values["path"]
        match step["uses"].partition("@")[0]:
            case "actions/cache/save" if (
                path.exists() and not (self.cache / values["key"]).exists()
            ):
                shutil.copytree(path, self.cache / values["key"], symlinks=True)
            case "actions/cache/restore":
                entries = sorted(self.cache.iterdir(), key=lambda entry: entry.stat().st_ctime_ns)
                keys = [values["key"], values["restore-keys"]]
                hits = [entry for key in keys for entry in entries if entry.name.startswith(key)]
                if hits:
                    shutil.copytree(hits[-1], path, symlinks=True, dirs_exist_ok=True)
            case _:
                pass
        return "success"

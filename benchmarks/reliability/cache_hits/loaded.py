"""What the stages really load: the modules of a small run, one process for each stage.

That is the truth which declarations and static analysis are held against.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.reliability import small_project

_LISTS_MODULES = """\
import atexit, json, os, sys

def leave():
    folder = os.environ.get("LISTED_MODULES")
    if folder:
        with open(os.path.join(folder, f"{os.getpid()}.json"), "w") as file:
            json.dump(sorted(sys.modules), file)

atexit.register(leave)
"""


class Loaded(NamedTuple):
    """Modules by stage."""

    ours: dict[str, frozenset[str]]
    """Those of ours that a stage imports, or loads beyond what a plan loads."""
    packages: dict[str, frozenset[str]]
    """Top-level modules of others that a stage loads beyond what a plan loads."""


def of_run(folder: Path) -> Loaded:
    """Run the small project stage by stage in `folder`; return what each process loaded.

    Raises:
        AssertionError: A stage fails.
    """
    site, project = folder / "site", small_project.write(folder / "project")
    site.mkdir()
    (site / "sitecustomize.py").write_text(_LISTS_MODULES, encoding="utf-8")
    planned = _listed(folder, "plan")
    ours, packages = {}, {}
    for stage in small_project.STAGES:
        more = _listed(folder, "run", stage) - planned
        imported = _imported(f"stages.{stage}.stage")
        ours[stage] = frozenset(name for name in more | imported if _is_ours(name))
        tops = {name.partition(".")[0] for name in more if not _is_ours(name)}
        packages[stage] = frozenset(tops - set(sys.stdlib_module_names))
    assert project.is_dir()
    return Loaded(ours, packages)


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in ("models", "stages")


def _listed(folder: Path, *arguments: str) -> set[str]:
    """Return the modules that a command's processes had loaded when they ended."""
    place = folder / "-".join(arguments)
    place.mkdir()
    variables = small_project.environment(
        PYTHONPATH=str(folder / "site"), LISTED_MODULES=str(place)
    )
    ended = small_project.run(folder / "project", *arguments, variables=variables)
    assert ended.code == 0, ended.stderr
    lists = [json.loads(file.read_bytes()) for file in place.iterdir()]
    assert lists, "no process left a list of its modules"
    return {name for names in lists for name in names}


def _imported(module: str) -> set[str]:
    """Return what the import of a module alone loads."""
    script = f"import json, sys, {module}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    return set(json.loads(done.stdout))

"""The keys of all stages of a project, printed by a process of its own.

    python keys_probe.py FOLDER [FACTS]
    python keys_probe.py FOLDER FOLDER...

The first `pipeline` and `stages` on Python's path are used, so that copies of them may be changed.
FACTS is JSON of facts of the machine that are to be others: `gpu`, `capability` and `driver`,
`cpu_info` (a file in place of /proc/cpuinfo), `cores`, `minor` (of Python).

With several folders each line of JSON on standard input names a `file` of sources and the `text`
that is in it while keys are computed; what is imported stays what it was. The answer has the keys
of every project.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


class _Version(NamedTuple):
    """Of Python, in place of `sys.version_info`."""

    major: int
    minor: int


def opened(folder: Path, overrides: tuple[str, ...] = ()) -> Any:
    """Return the project of a folder."""
    from pipeline.project import Project  # noqa: PLC0415  (from where Python's path says)
    from stages.catalog import declare  # noqa: PLC0415
    from stages.completed_settings import complete  # noqa: PLC0415

    return Project.open(folder / "pipeline.toml", overrides, declare, complete)


def keys_of(project: Any, other_input: str = "") -> dict[str, str]:
    """Return the keys of a project's stages, as if earlier stages always left the same bytes.

    All but `other_input` of a stage, `STAGE:INPUT`, where one is named.
    """
    from pipeline.cache.digests import DigestCache  # noqa: PLC0415
    from pipeline.cache.keys import key_document, key_of  # noqa: PLC0415

    digest_cache = DigestCache(project.store.digest_cache_path)
    keys = {}
    for stage in project.stages:
        others = {name: f"{stage.name}:{name}" == other_input for name in stage.inputs}
        inputs = {name: ("1" if is_other else "0") * 64 for name, is_other in others.items()}
        keys[stage.name] = key_of(key_document(stage, project.settings, inputs, digest_cache))
    project.store.prepare()
    digest_cache.save()
    return keys


def change_machine(changes: dict[str, str]) -> None:
    """Let `pipeline.machine` see another machine."""
    from pipeline import machine  # noqa: PLC0415

    if "gpu" in changes:
        gpu = machine.Gpu(changes["gpu"], changes["capability"], changes["driver"])
        machine.gpus = lambda: (gpu,)  # type: ignore[assignment]
    if "cpu_info" in changes:
        machine._CPU_INFO = Path(changes["cpu_info"])
    if "cores" in changes:
        machine.cpu_count = lambda: int(changes["cores"])


def serve(folders: Sequence[Path]) -> None:
    """Answer each line on standard input with the keys of all projects, as a line."""
    projects = {folder.name: opened(folder) for folder in folders}
    print(json.dumps({name: keys_of(project) for name, project in projects.items()}), flush=True)
    for line in sys.stdin:
        change = json.loads(line)
        file = Path(change["file"])
        source = file.read_bytes()
        file.write_text(change["text"], encoding="utf-8")
        try:
            keys = {name: keys_of(project) for name, project in projects.items()}
        finally:
            file.write_bytes(source)
        print(json.dumps(keys), flush=True)


def main() -> None:
    """Print the keys of what the command line names."""
    os.environ.pop("MADPIPE_HOME", None)
    first, *others = sys.argv[1:]
    if others and not others[0].startswith("{"):
        serve([Path(folder) for folder in (first, *others)])
        return
    facts = json.loads(others[0]) if others else {}
    change_machine(facts)
    project = opened(Path(first))
    keys_of(project)
    if "minor" in facts:  # once everything is imported
        sys.version_info = _Version(3, int(facts["minor"]))  # type: ignore[assignment]
    print(json.dumps(keys_of(project)))


if __name__ == "__main__":
    main()

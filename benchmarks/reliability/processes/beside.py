"""Other commands at the same time as a run, and several projects with one shared cache."""

from pathlib import Path
from random import Random

from benchmarks.reliability import small_project
from benchmarks.reliability.processes import crowd
from benchmarks.reliability.processes.crowd import LONGEST_S, Crowd
from benchmarks.reliability.processes.observer import Observer
from benchmarks.reliability.processes.together import HOME, Alone
from pipeline.cache.store import Store

_COMMANDS: dict[tuple[str, ...], str] = {
    ("plan",): "",
    ("status",): "",
    ("cache", "verify"): "",
    ("cache", "ls"): "",
    ("cache", "push", "../pushed"): "",
    ("cache", "gc"): "another process is writing here",
    ("report", "--format", "json", "--out", "report.json"): "madpipe run",
    ("gate",): "holds no measurements",
}
"""What may be done at any time, and what is said where it ends with 1; empty: it never does."""


def commands(folder: Path, alone: Alone, random: Random) -> str:
    """Do other things while a run is under way; none is in the way of another."""
    project = small_project.write(folder / "project")
    started = Crowd([project], [("run", "all")], folder / "logs")
    with Observer(project / HOME, lambda: started.pids) as observer:
        while started.processes[0].poll() is None:
            arguments = random.choice([*_COMMANDS])
            ended = small_project.run(project, *arguments, limit_s=LONGEST_S)
            if fault := _fault(arguments, ended.code, ended.stdout + ended.stderr):
                started.kill(0)
                return fault
        endings = started.play({})
    if fault := crowd.fault_of(endings, started) or crowd.overlap_of(observer):
        return fault
    seen = small_project.results(project / HOME)
    if seen != alone.results["as it stands"]:
        return f"expected {alone.results['as it stands']}, saw {seen}"
    return _damage(folder / "pushed")


def pushes_to_folder(folder: Path, alone: Alone, random: Random) -> str:
    """Let three projects share a folder, and kill one."""
    return _pushes(folder, "../shared", alone, random) or _damage(folder / "shared")


def pushes_to_url(folder: Path, alone: Alone, random: Random) -> str:
    """Let three projects share a `file://` URL, and kill one."""
    place = f"file://{folder}/shared"
    if fault := _pushes(folder, place, alone, random):
        return fault
    pulled = small_project.write(folder / "pulled")
    ended = small_project.run(pulled, "cache", "pull", place, limit_s=LONGEST_S)
    if ended.code:
        return f"cache pull: expected 0, ended with {ended.code}: {ended.stderr[-300:]}"
    return _damage(pulled / HOME)


def _pushes(folder: Path, place: str, alone: Alone, random: Random) -> str:
    projects = [small_project.write(folder / f"project-{number}") for number in range(3)]
    options = ("--set", f"cache.remote={place}", "--set", "cache.push=true")
    started = Crowd(projects, [("run", "all", *options)] * 3, folder / "logs")
    endings = started.play(crowd.random_kills(1, 3, 1.5 * alone.seconds, random))
    if fault := crowd.fault_of(endings, started):
        return fault
    for number, project in enumerate(projects):
        if number in started.killed:
            continue
        seen = small_project.results(project / HOME)
        if seen != alone.results["as it stands"]:
            return f"project {number}: expected {alone.results['as it stands']}, saw {seen}"
        for text in endings[number].stdout, endings[number].stderr:
            if "goes on without" in text or "copies nothing" in text:
                return f"project {number}: expected the shared cache to serve, saw {text[-300:]}"
    return ""


def _fault(arguments: tuple[str, ...], code: int, text: str) -> str:
    allowed = _COMMANDS[arguments]
    is_refused = code == 1 and bool(allowed) and allowed in text
    if "Traceback" not in text and (code == 0 or is_refused):
        return ""
    return f"{' '.join(arguments)}: expected 0{' or 1' * bool(allowed)}, saw {code}: {text[-300:]}"


def _damage(home: Path) -> str:
    """Return what is wrong with the entries of a folder; empty: nothing."""
    for path, lookup in Store(home).entries() if home.is_dir() else ():
        damage = lookup.damage
        if lookup.entry is not None:
            record = lookup.entry.record
            damage = Store(home).find(record.stage, record.key).damage
        if damage:
            return f"expected sound entries, saw {path}: {damage}"
    return ""

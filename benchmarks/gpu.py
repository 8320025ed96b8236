"""The CIFAR-10 row on a GPU, in pieces: teacher, MAD, ABM, engines, validation, one table.

    python -m benchmarks.gpu --data FOLDER --out FOLDER --budget-s 540

Call it again, with the same arguments, until it says that all is done: each call works for at
most its budget, stops at a checkpoint, and the next one goes on from there. FOLDER of images
has train/CLASS/ and test/CLASS/, or is what torchvision unpacks. The working folder is kept in
--home, which has to survive between calls; what is worth keeping is written to --out, in at
most eight files of at most 16 MiB.

    python -m benchmarks.gpu ... --tiny        a small pair and few rounds: tries the script itself
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import hostinfo
from pipeline.project import HOME_FOLDER
from pipeline.store import Store

ROOT = Path(__file__).parent.parent
ENTRY = "from pipeline.cli.entry import main; main()"
MOST_BYTES = 16 << 20
STOP_S = 45.0
INTERRUPTED = 130
JUDGED = (0, 3, 4)
TINY = (
    "teacher.arch=resnet8",
    "teacher.epochs=1",
    "teacher.batch_size=64",
    "student.arch=resnet8",
    "distill.rounds=30",
    "distill.student_steps=2",
    "distill.batch_size=32",
    "distill.generator_width=16",
    "distill.bank_size=64",
    "validate.pairs=20",
    "run.checkpoint_every_s=1",
)


class Task(NamedTuple):
    """One command of the row, and where its events are logged."""

    name: str
    words: tuple[str, ...]
    settings: tuple[str, ...] = ()


TASKS = (
    Task("mad", ("run", "all"), ("distill.method=mad",)),
    Task("abm", ("run", "distill"), ("distill.method=abm",)),
)


def main() -> None:
    """Work through the tasks for the time that was given, then say what is left."""
    given = arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    given.home.mkdir(parents=True, exist_ok=True)
    config = given.home / "pipeline.toml"
    if not config.is_file():
        command(["init", "--preset", "cifar10", "--config", str(config)], given.home)
    shared = [f"data.root={given.data.resolve()}", "distill.monitor=held-out", *given.set]
    shared += TINY if given.tiny else ()
    deadline_s = time.monotonic() + given.budget_s
    for task in TASKS:
        left_s = deadline_s - time.monotonic()
        if left_s < 2 * STOP_S or not brought(task, shared, given.home, left_s - STOP_S):
            print(f"{task.name}: not done yet; call again with the same arguments")
            collect(given.home, given.out, shared, is_whole=False)
            return
        print(f"{task.name}: done", flush=True)
    collect(given.home, given.out, shared, is_whole=True)
    print("all done")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--home", type=Path, default=ROOT / ".madpipe" / "gpu")
    parser.add_argument("--budget-s", type=float, default=540.0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


def command(words: Sequence[str], home: Path) -> subprocess.CompletedProcess[str]:
    """Run a madpipe command that must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, *words],
        cwd=home,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in JUDGED:
        sys.exit(f"madpipe {' '.join(words)} left with {done.returncode}:\n{done.stderr}")
    return done


def environment() -> dict[str, str]:
    """Return the environment in which this very project is found, with no folder of others."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {k: v for k, v in os.environ.items() if k != "MADPIPE_HOME"} | {"PYTHONPATH": path}


def options(task: Task, shared: Sequence[str]) -> list[str]:
    """Return the settings of a task as options."""
    return [word for each in (*shared, *task.settings) for word in ("--set", each)]


def brought(task: Task, shared: Sequence[str], home: Path, budget_s: float) -> bool:
    """Run a task until it is done or the time is up; true when it is done."""
    words = [*task.words, "--json", *options(task, shared)]
    with (home / f"{task.name}.jsonl").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", ENTRY, *words], cwd=home, env=environment(), stdout=log
        )
        try:
            code = process.wait(timeout=budget_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            code = process.wait()
    if code == INTERRUPTED:
        return False
    if code not in JUDGED:
        sys.exit(f"{task.name} left with {code}; the log is {home / f'{task.name}.jsonl'}")
    return True


def collect(home: Path, out: Path, shared: Sequence[str], *, is_whole: bool) -> None:
    """Write the figures and, once all is done, the report, the student and the table."""
    rows = {task.name: figures(task, shared, home) for task in TASKS}
    facts = hostinfo.environment(ROOT)
    record = {"environment": facts, "rows": rows, "is_whole": is_whole}
    (out / "figures.json").write_text(json.dumps(record, indent=2, default=str), encoding="utf-8")
    for task in TASKS:
        log = home / f"{task.name}.jsonl"
        if log.is_file():
            tail = log.read_bytes()[-MOST_BYTES:]
            (out / log.name).write_bytes(tail)
    table(rows, facts)
    if not is_whole:
        return
    # The report is of the last run; this one runs nothing.
    command(["run", "all", "--inconclusive", "pass", *options(TASKS[0], shared)], home)
    for form in ("html", "json"):
        words = ["report", "--format", form, "--out", str(out.resolve() / f"report.{form}")]
        command([*words, *options(TASKS[0], shared)], home)
    student = Path(rows["mad"]["distill"]["path"]) / "student.safetensors"
    split(student, out)


def figures(task: Task, shared: Sequence[str], home: Path) -> dict[str, Any]:
    """Return the stored record of each stage for the settings of a task, and where it lies."""
    said = command(["plan", "--json", *options(task, shared)], home)
    store = Store(home / HOME_FOLDER)
    found = {}
    for each in json.loads(said.stdout):
        entry = store.read(each["name"], each["key"]) if each["action"] == "hit" else None
        if entry is not None:
            manifest = entry.manifest
            found[each["name"]] = {
                "metrics": manifest.metrics,
                "seconds": manifest.seconds,
                "path": str(entry.path),
            }
    return found


def split(path: Path, out: Path) -> None:
    """Write a file in parts that are small enough; `cat` puts them together again."""
    content = path.read_bytes()
    if len(content) <= MOST_BYTES:
        shutil.copyfile(path, out / path.name)
        return
    for number, first in enumerate(range(0, len(content), MOST_BYTES)):
        part = content[first : first + MOST_BYTES]
        (out / f"{path.name}.{number}").write_bytes(part)


def table(rows: dict[str, Any], facts: dict[str, Any]) -> None:
    """Print what is known so far."""
    print(", ".join(f"{name} {facts[name]}" for name in ("gpu", "cpu", "torch") if name in facts))
    print("| method | teacher | last | best | mu | sigma^2 | distill s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, stages in rows.items():
        if "distill" not in stages:
            continue
        found = stages["distill"]["metrics"]
        top1 = [found[f"monitor_top1_{each}"] for each in ("last", "best", "mean")]
        print(
            f"| {name} | {100 * stages['teacher']['metrics']['top1']:.2f} "
            f"| {' | '.join(f'{100 * each:.2f}' for each in top1)} "
            f"| {1e4 * found['monitor_top1_variance']:.2f} "
            f"| {stages['distill']['seconds']:.0f} |"
        )


if __name__ == "__main__":
    main()

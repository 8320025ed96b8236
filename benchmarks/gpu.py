"""The CIFAR-10 row on a GPU, in pieces: teacher, MAD, ABM, engines, profile, tests, one table.

    python -m benchmarks.gpu --data FOLDER --out FOLDER --budget-s 540

Call it again, with the same arguments, until all is done: every call works for at
most its budget, stops at a checkpoint, and the next one goes on from there. FOLDER of images
has train/CLASS/ and test/CLASS/, or is what torchvision unpacks. The working folder is kept in
--home, which has to survive between calls; what is worth keeping is written to --out, in at
most eight files of at most 16 MiB.

    python -m benchmarks.gpu ... --tiny        a small pair and few rounds: tries the script itself
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gpu_figures import collect
from pipeline.cache.store import Store
from pipeline.project import HOME_FOLDER

ROOT = Path(__file__).parent.parent
ENTRY = "from pipeline.cli.main import main; main()"
STOP_S = 45.0
LEAST_S = 30.0
INTERRUPTED = 130
JUDGED = (0, 3, 4)
TINY = (
    "teacher.arch=resnet8",
    "teacher.epochs=10",
    "teacher.learning_rate=0.1",
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
    """A madpipe command of the row, which stops at a checkpoint and goes on from it."""

    name: str
    words: tuple[str, ...]
    settings: tuple[str, ...] = ()


class Script(NamedTuple):
    """A benchmark or test run whose text belongs to the row; done once, from start to end."""

    name: str
    words: str
    tiny: str
    """What is run with --tiny."""


TASKS = (
    Task("mad", ("run", "all"), ("distill.method=mad",)),
    Task("abm", ("run", "distill"), ("distill.method=abm",)),
)
SCRIPTS = (
    Script(
        "rounds",
        "-m benchmarks.rounds",
        "-m benchmarks.rounds --teacher resnet8 --student resnet8 --batch 8 --width 8 --repeats 1",
    ),
    Script(
        "engines",
        "-m benchmarks.engines latency --device cuda --batch 1 --batch 32 --batch 256",
        "-m benchmarks.engines latency --quick --batch 1",
    ),
    Script(
        "tests",
        "-m pytest -q -p no:cacheprovider -m gpu tests",
        "-m pytest -q -p no:cacheprovider -m gpu tests/stages",
    ),
)


def main() -> None:
    """Work through the tasks within the budget, then print what is left."""
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    arguments.home.mkdir(parents=True, exist_ok=True)
    config = arguments.home / "pipeline.toml"
    if not config.is_file():
        command(["init", "--preset", "cifar10", "--config", str(config)], arguments.home)
    shared = [f"data.root={arguments.data.resolve()}", "distill.monitor=held-out"]
    shared += [*(TINY if arguments.tiny else ()), *arguments.set]
    left = undone(arguments, shared, time.monotonic() + arguments.budget_s)
    rows = {task.name: figures(task, shared, arguments.home) for task in TASKS}
    texts = {script.name: arguments.home / f"{script.name}.md" for script in SCRIPTS}
    logs = [arguments.home / f"{task.name}.jsonl" for task in TASKS]
    if left is None:
        # The report is of the last run; this one runs nothing.
        words = ["run", "all", "--inconclusive", "pass", *options(TASKS[0], shared)]
        command(words, arguments.home)
        for form in ("html", "json"):
            words = [
                "report",
                "--format",
                form,
                "--out",
                str(arguments.out.resolve() / f"row.{form}"),
            ]
            command([*words, *options(TASKS[0], shared)], arguments.home)
    collect(arguments.out, rows, texts, logs, is_whole=left is None)
    print(f"{left}: not done yet; call again with the same arguments" if left else "all done")


def undone(arguments: argparse.Namespace, shared: Sequence[str], deadline_s: float) -> str | None:
    """Work until the deadline; return what is not done yet, None when all is."""
    for part in (*TASKS, *SCRIPTS):
        left_s = deadline_s - time.monotonic() - arguments.stop_s
        if left_s < LEAST_S * (not arguments.tiny):
            return part.name
        if isinstance(part, Task):
            is_done = run_task(part, shared, arguments.home, left_s, arguments.stop_s)
        else:
            is_done = run_script(part, arguments.home, left_s, is_tiny=arguments.tiny)
        if not is_done:
            return part.name
        print(f"{part.name}: done", flush=True)
    return None


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--home", type=Path, default=ROOT / ".madpipe" / "gpu")
    parser.add_argument("--budget-s", type=float, default=540.0)
    parser.add_argument("--stop-s", type=float, default=STOP_S, help="kept of it for stopping")
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
    return [word for setting in (*shared, *task.settings) for word in ("--set", setting)]


def run_task(task: Task, shared: Sequence[str], home: Path, budget_s: float, stop_s: float) -> bool:
    """Run a task until it is done or the time is up; true when it is done."""
    words = [*task.words, "--json", *options(task, shared)]
    with (home / f"{task.name}.jsonl").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", ENTRY, *words], cwd=home, env=environment(), stdout=log
        )
        try:
            code = process.wait(timeout=budget_s)
        except subprocess.TimeoutExpired:
            # Where this script was started in the background, SIGINT would be ignored.
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(timeout=stop_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return False
    if code in (INTERRUPTED, -signal.SIGTERM):  # the second: stopped before it could listen
        return False
    if code not in JUDGED:
        sys.exit(f"{task.name} left with {code}; the log is {home / f'{task.name}.jsonl'}")
    return True


def run_script(script: Script, home: Path, budget_s: float, *, is_tiny: bool) -> bool:
    """Run a script and keep its output; true when it was kept, now or by an earlier call."""
    kept = home / f"{script.name}.md"
    if kept.is_file():
        return True
    words = (script.tiny if is_tiny else script.words).split()
    part = home / f"{script.name}.part"
    with part.open("wb") as text:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment(),
            stdout=text,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=budget_s)
        except subprocess.TimeoutExpired:
            # With all that it started, which would go on beside the next task.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False
    with part.open("ab") as text:
        text.write(f"\n`{' '.join(words)}` left with {code}.\n".encode())
    if code:
        print(f"{script.name}: left with {code}, see {kept}")
    part.replace(kept)
    return True


def figures(task: Task, shared: Sequence[str], home: Path) -> dict[str, Any]:
    """Return the stored record of each stage for the settings of a task, and where it lies."""
    plan = command(["plan", "--json", *options(task, shared)], home)
    store = Store(home / HOME_FOLDER)
    records = {}
    for stage in json.loads(plan.stdout):
        entry = store.read(stage["name"], stage["key"]) if stage["action"] == "hit" else None
        if entry is not None:
            record = entry.record
            records[stage["name"]] = {
                "metrics": record.metrics,
                "seconds": record.seconds,
                "path": str(entry.path),
            }
    return records


if __name__ == "__main__":
    main()

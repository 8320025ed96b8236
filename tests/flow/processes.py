"""Real runs of the command line, each in a process of its own, in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ENTRY = "import sys; from pipeline.cli.main import main; main(sys.argv[1:])"
ROOT = Path(__file__).parents[2]

Event = dict[str, Any]


class Result(NamedTuple):
    """Exit code, events and standard error of a process that ended."""

    code: int
    events: list[Event]
    errors: str

    def statuses(self) -> dict[str, str]:
        """Return the status of each stage that came to its end."""
        return {e["stage"]: e["status"] for e in self.events if e["kind"] == "stage_done"}

    def progress(self, stage: str) -> list[int]:
        """Return how far the training of a stage was, as it reported, in order."""
        of_stage = [e for e in self.events if e["kind"] == "progress" and e["stage"] == stage]
        return [event["done"] for event in of_stage if event["unit"] in TRAINING]


@dataclass(frozen=True, slots=True)
class Folder:
    """A project folder and the settings that its commands get."""

    path: Path
    settings: Sequence[str] = field(default_factory=tuple)

    def command(self, *words: str) -> list[str]:
        """Return the command line of a madpipe command in this folder."""
        sets = [word for change in self.settings for word in ("--set", change)]
        return [sys.executable, "-c", ENTRY, *words, *sets]

    def run(self, *words: str) -> Result:
        """Run a command to its end; its events are those it wrote with --json."""
        process = subprocess.run(
            self.command(*words),
            cwd=self.path,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        lines = process.stdout.splitlines() if "--json" in words and words[0] in RUNS else []
        return Result(process.returncode, [json.loads(line) for line in lines], process.stderr)

    def run_and_signal(
        self, *words: str, when: Callable[[Event], bool], number: signal.Signals
    ) -> Result:
        """Run a command and send it a signal as soon as it writes an event that fits."""
        events = []
        with subprocess.Popen(
            self.command(*words),
            cwd=self.path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            is_sent = False
            for line in process.stdout:
                events.append(json.loads(line))
                if not is_sent and when(events[-1]):
                    process.send_signal(number)
                    is_sent = True
            errors = process.stderr.read()
            code = process.wait()
        return Result(code, events, errors)

    def output(self, stage: str, file: str) -> Path:
        """Return a file of the only entry of a stage."""
        (path,) = self.path.glob(f".madpipe/entries/{stage}/*/{file}")
        return path


RUNS = ("run", "distill", "sweep")
TRAINING = ("steps", "rounds")
"""Units of progress."""


def environment() -> dict[str, str]:
    """Return the environment of the processes: this code importable, one thread."""
    dropped = {"MADPIPE_HOME", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

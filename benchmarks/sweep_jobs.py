"""How long a sweep on the digits takes with jobs side by side and without, in turns.

    python benchmarks/sweep_jobs.py --jobs 2 --repetitions 3

Each sweep runs in a folder of its own up to `export`, the part that jobs run side by side. Prints
one JSON object with the machine, the settings, and the seconds of every sweep. On a machine that
does anything else the figures mean nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline import machine

ENTRY = "from pipeline.cli.main import main; main()"
STUDENTS = "student.arch=resnet8,resnet14,wrn16-1,resnet20"


def seconds_of(jobs: int, rounds: int) -> float:
    """Return how long one sweep takes, from nothing stored on."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pipeline.toml").touch()
        words = ["sweep", STUDENTS, "--to", "export", "--jobs", str(jobs)]
        words += ["--set", f"distill.rounds={rounds}"]
        begin_s = time.perf_counter()
        subprocess.run(
            [sys.executable, "-P", "-c", ENTRY, *words], cwd=folder, check=True, stdout=sys.stderr
        )
        return time.perf_counter() - begin_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"1": [], str(options.jobs): []}
    for _ in range(options.repetitions):
        for jobs in (1, options.jobs):
            seconds[str(jobs)].append(round(seconds_of(jobs, options.rounds), 1))
    facts = {"students": STUDENTS, "rounds": options.rounds, "seconds_by_jobs": seconds}
    print(json.dumps(facts | {"machine": machine.host()}, indent=2))


if __name__ == "__main__":
    main()

"""Long runs: does what a process holds grow with the rounds that it has behind it?

Real commands train networks that are as small as they can be, and are looked at from outside every
half second. In the second half of its last session a process must not hold more with each round:
the slope of its resident memory, with its interval, stays below `MOST_BYTES`, and handles, threads
and children keep their level. The working folder may grow by the points of the curves alone.

Not tested: memory of a GPU, and runs of days; what grows once in an hour is not seen here.
"""

import functools
import itertools
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.reliability import growth, process_samples, small_project
from benchmarks.reliability.cases import Case, Outcome, Piece
from benchmarks.reliability.process_samples import Sample

ROUNDS = 20_000
MOST_BYTES = 2**20
"""Bound on the upper end of the interval of resident memory, for each 1,000 units."""
MOST_FOLDER_BYTES = 16 * 2**10
"""The same for the working folder."""
_EVERY_S, _OFTEN_S = 0.5, 0.2
"""Between samples of 20,000 rounds, and of what takes less time."""
_NETWORKS = Path(__file__).with_name("tiny_networks.py")

# A student that begins as its teacher does not collapse in 20,000 rounds.
SETTINGS = """\
[run]
checkpoint_every_s = 1
[data]
image_size_px = 8
[teacher]
arch = "networks.py:teacher"
epochs = 5
[student]
arch = "networks.py:teacher"
[distill]
student_start = "teacher"
student_learning_rate = 0.001
balance_weight = 10
student_steps = 1
batch_size = 8
generator_width = 2
noise_dim = 8
memory_size = 256
bank_size = 64
[build]
backend = "onnxruntime"
precision = "fp32"
[validate]
warmup_s = 0.1
first_runs = 0
teacher_engine = false
pictures = 0
batch_sizes = [1]
[gates]
"""


class Work(NamedTuple):
    """One kind of long run."""

    what: str
    stage: str = "distill"
    unit: str = "rounds"
    setting: str = "distill.rounds"
    """That says how many units there are."""
    units: int = ROUNDS
    settings: Sequence[str] = ()
    """More of them, as `--set` takes them."""
    stops: int = 0
    """How often the run is stopped by SIGINT and started again, evenly over its first quarter."""


WORKS = (
    Work("no tracker"),
    Work("TensorBoard", settings=('track.to=["tensorboard"]',)),
    Work("stopped 3 times", stops=3),
    Work("method mad", settings=("distill.method=mad",)),
    Work("method mad, 2 processes", settings=("distill.method=mad", "distill.processes=2")),
    Work("pairs measured", "validate", "pairs", "validate.pairs", units=20 * ROUNDS),
)


class Session(NamedTuple):
    """What was seen of one process from its start to its end."""

    code: int
    errors: str
    samples: list[Sample]


def cases(seed: int) -> list[Case]:
    """Return one case for each kind of long run."""
    return [
        Case.numbered(
            number, f"{work.units:,} {work.unit}, {work.what}", piece="long-run", seed=seed
        )
        for number, work in enumerate(WORKS)
    ]


def play(
    case: Case,
    folder: Path,
    _shared: Path,
    *,
    units: int | None = None,
    more: Sequence[str] = (),
) -> Outcome:
    """Run to the end under the sampler, and judge the second half of the last session.

    Of fewer `units` than the case has, levels alone are judged. `more` are changes of settings.
    """
    work = WORKS[case.number]
    is_whole = units is None
    units = units or work.units
    project = small_project.write(
        folder / "project", settings=f"seed = {case.seed % 2**32}\n{SETTINGS}"
    )
    shutil.copyfile(_NETWORKS, project / "networks.py")
    few = () if work.stage == "distill" else ("--set", "distill.rounds=150")
    ended = small_project.run(project, "run", "build", *few) if few else None
    if ended is not None and ended.code:
        return Outcome(fault=f"expected build to end with 0, seen {ended.code}: {ended.stderr}")
    changes = [f"{work.setting}={units}", *work.settings, *more]
    options = [word for change in changes for word in ("--set", change)]
    stop_at = [units * number // (4 * work.stops) for number in range(1, work.stops + 1)]
    every_s = _EVERY_S if is_whole and work.stage == "distill" else _OFTEN_S
    sessions = [
        session(project, work, [*few, *options], every_s=every_s, stop_at=at)
        for at in [*stop_at, None]
    ]
    for seen, expected in zip(sessions, [130] * work.stops + [0], strict=True):
        if seen.code != expected:
            fault = f"expected exit code {expected}, seen {seen.code}: {seen.errors[-300:]}"
            return Outcome(fault=fault)
    home = project / ".madpipe"
    return judge(sessions[-1].samples, progress(home, work), home, is_whole=is_whole)


def session(
    project: Path,
    work: Work,
    options: Sequence[str],
    *,
    every_s: float,
    stop_at: int | None = None,
) -> Session:
    """Run a stage under the sampler to its end, or until so many units are done."""
    home = project / ".madpipe"
    with (project / "errors.txt").open("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [small_project.MADPIPE, "run", work.stage, *options],
            cwd=project,
            env=small_project.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
        )
        is_far = functools.partial(_is_done, home, work, stop_at)
        samples = process_samples.follow(process, home, every_s=every_s, is_far=is_far)
        errors.seek(0)
        return Session(process.returncode, errors.read(), samples)


def _is_done(home: Path, work: Work, stop_at: int | None) -> bool:
    return stop_at is not None and max((d for _, d in progress(home, work)), default=0) >= stop_at


def progress(home: Path, work: Work) -> list[tuple[float, int]]:
    """Return when how many units were done, as the stage's log says, also while it runs."""
    logs = [*home.glob(f"work/{work.stage}/*/events.jsonl")]
    logs += home.glob(f"entries/{work.stage}/*/events.jsonl")
    points = []
    for line in itertools.chain.from_iterable(log.read_bytes().splitlines() for log in logs):
        try:
            event = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue  # it is being written
        if event["kind"] == "progress" and event["unit"].startswith(work.unit):
            points.append((event["time_s"], event["done"]))
    return points


def judge(
    samples: Sequence[Sample],
    points: Sequence[tuple[float, int]],
    home: Path,
    *,
    is_whole: bool = True,
) -> Outcome:
    """Say whether what a process held grew, from samples of its session.

    Slopes are judged of whole runs alone: short ones are over before memory has its level.
    """
    of_session = [point for point in points if point[0] >= samples[0].time_s]
    times, done = zip(*of_session, strict=True)
    seen = [sample for sample in samples if times[0] <= sample.time_s <= times[-1]]
    faults, figures = _levels(seen)
    log = max((path.stat().st_size for path in home.glob("*/*/*/events.jsonl")), default=0)
    figures |= {"samples": len(seen), "events_bytes": log, "units": max(done)}
    if not is_whole:
        return Outcome(fault="; ".join(faults), figures=figures)
    half = seen[len(seen) // 2 :]
    x = np.interp([sample.time_s for sample in half], times, done) / 1000
    bounds = (("rss_bytes", MOST_BYTES), ("pss_bytes", None), ("folder_bytes", MOST_FOLDER_BYTES))
    for name, most in bounds:
        grown = growth.slope(x.tolist(), [getattr(sample, name) for sample in half])
        figures |= {
            f"{name}_per_1000": grown.per_unit,
            f"{name}_per_1000_low": grown.low,
            f"{name}_per_1000_high": grown.high,
        }
        if most is not None and grown.high >= most:
            faults.append(f"expected {name} per 1,000 units below {most:,}, seen {grown}")
    return Outcome(fault="; ".join(faults), remark=_remark(figures), figures=figures)


def _levels(samples: Sequence[Sample]) -> tuple[list[str], dict[str, float]]:
    """Return what rose to a new level, and the greatest of each."""
    faults, figures = list[str](), dict[str, float]()
    for name in ("handles", "threads", "processes"):
        values = [getattr(sample, name) for sample in samples]
        risen = growth.rise(values)
        figures |= {name: max(values), f"{name}_rise": risen}
        if risen > 0:
            faults.append(f"expected {name} to keep their level, seen {risen:g} more at the end")
    return faults, figures


def _remark(figures: dict[str, float]) -> str:
    kib = [figures[f"rss_bytes_per_1000{end}"] / 1024 for end in ("", "_low", "_high")]
    return f"RSS {kib[0]:+.1f} KiB per 1,000 ({kib[1]:+.1f} to {kib[2]:+.1f})"


PIECE = Piece(
    name="long-run",
    claim=f"memory, handles and threads of {ROUNDS:,} rounds do not grow",
    cases=cases,
    play=play,
)

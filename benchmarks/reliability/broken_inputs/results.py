"""What stages leave for reports broken, with digests that are right; reports and baselines."""

import hashlib
import json
import random
from pathlib import Path

from benchmarks.reliability.broken_inputs import hostile, json_files, stored
from benchmarks.reliability.broken_inputs.harness import Broken, Format
from benchmarks.reliability.broken_inputs.stored import choose

_READERS = (
    *(["gate"], ["report", "--format", "json"], ["report", "--out", "page.html"]),
    *(["report", "--format", "markdown", "--out", "-"], ["report", "--format", "junit"]),
    *(["report", "--format", "bencher"], ["report", "--format", "gitlab-codequality"]),
    *(["report", "--format", "gitlab-metrics"], ["report", "--format", "github-benchmark-bigger"]),
    *(["compare", stored.BASELINE, "."], ["compare", ".", stored.BASELINE, "--json"]),
    *(["baseline", "kept"], ["package", "--out", "packed"], ["status"], ["run", "all"]),
)
_TARGETS = ("page.html", "kept", "packed", "out.md")
_FILES = {
    "validate": ("measurements.json", "samples.json", "pictures.json"),
    "build": ("candidates.json", "manifest.json"),
    "distill": ("curves.jsonl", "images.json"),
}
_MOST_BYTES = 1 << 30
_COMPARE = (
    *(["compare", stored.BASELINE, "."], ["compare", ".", stored.BASELINE]),
    *(["compare", f"{stored.BASELINE}/report.json", stored.BASELINE],),
    *(["compare", stored.BASELINE, ".", "--out", "page.html"],),
    *(["compare", stored.BASELINE, ".", "--json"],),
)


def _break_result(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Break an output of a stage and make the entry's record right again."""
    home = stored.copy(folder, shared)
    stage = rng.choices([*_FILES], [5, 2, 2])[0]
    path = stored.entry_of(home, stage) / rng.choice(_FILES[stage])
    content = path.read_bytes()
    if path.suffix == ".jsonl":
        what, content = _broken_lines(rng, content)
    else:
        what, content = json_files.broken(rng, content)
    stored.replace(path, content)
    stored.sign_output(path)
    return Broken(f"{path.name}: {what}", choose(rng, *_READERS), _TARGETS)


def _broken_lines(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    lines = content.splitlines() or [b'{"round": 1, "loss": 0.5}']
    index = rng.randrange(len(lines))
    what, lines[index] = json_files.broken(rng, lines[index])
    times = min(rng.choice([1, 1, 1000]), 1 + _MOST_BYTES // sum(map(len, lines)))
    return what, b"\n".join(lines * times)


def _break_baseline(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Break a file of a baseline; mostly the digests in its report are right again."""
    stored.copy(folder, shared)
    name = rng.choice(["report.json", "report.json", "measurements.json", "samples.json"])
    path = folder / stored.BASELINE / name
    what, content = json_files.broken(rng, path.read_bytes())
    stored.replace(path, content)
    report_path = path.with_name("report.json")
    if path != report_path and rng.random() < 0.9:
        report = json.loads(report_path.read_bytes())
        for stage in report["stages"]:
            for output in stage["outputs"].values():
                if Path(output["path"]).name == name:
                    output["sha256"] = hashlib.sha256(content).hexdigest()
        stored.replace(report_path, json_files.encoded(report))
    return Broken(f"baseline's {name}: {what}", choose(rng, *_COMPARE), _TARGETS)


def _break_name(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Name what is no run."""
    stored.copy(folder, shared)
    (folder / "empty").mkdir()
    words = [
        hostile.argument(rng),
        rng.choice([".", "empty", "pipeline.toml", "20", stored.BASELINE]),
    ]
    rng.shuffle(words)
    return Broken(f"compare {words}", ["compare", *words], _TARGETS)


RESULTS = Format("results", stored.prepare, _break_result)
BASELINES = Format("baselines", stored.prepare, _break_baseline)
NAMES = Format("names-of-runs", stored.prepare, _break_name)

"""Judging one run against another from what both stored: `madpipe compare A B`.

A is the baseline, B is judged. Accuracy is paired where both saw the same images. Latencies of
two sessions are never paired: a machine's speed wanders by more between them than a gate allows.
But each session measured its engine in turns with the teacher, so where teacher and machine are
the same, the ratio of the two speed-ups cancels what the sessions differ in.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import run_records
from pipeline.cache.store import Entry, Store, damage_of
from pipeline.errors import StoreError, UsageError
from pipeline.gates.estimates import Absent, Estimate, drop_estimate, speedup_estimate
from pipeline.gates.intervals import Bounds
from pipeline.gates.judge import Verdict, verdict_on
from pipeline.gates.measurements import Measurements, RatioRecord, Samples, read
from pipeline.paths import HOME_FOLDER
from pipeline.project import MEASUREMENTS, VALIDATE
from pipeline.report.records import OutputFile, read_stages
from pipeline.settings import Gate

SAMPLES = "samples"
_SAME_MACHINE = ("cpu", "cores", "gpu0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run to compare."""

    name: str
    measurements: Measurements
    samples: Samples
    teacher_sha256: str
    host: Mapping[str, str]


def compare(base: Run, head: Run, gates: Mapping[str, Gate]) -> list[Verdict]:
    """Return a verdict on `head` against `base` for each gate."""
    verdicts = []
    for name, gate in gates.items():
        if name == "latency_ratio":
            measured = _latency_ratio(base, head, gate.confidence)
        elif name == "engine_bytes_ratio":
            ratio = head.measurements.engine_bytes / base.measurements.engine_bytes
            measured = Estimate(ratio, Bounds(ratio, ratio), 1, None)
        else:
            network = name.removesuffix("_top1_drop")
            measured = _paired_drop(network, base, head, gate.confidence)
        verdicts.append(verdict_on(name, gate, measured))
    return verdicts


def _paired_drop(network: str, base: Run, head: Run, confidence: float) -> Estimate | Absent:
    for run in (base, head):
        if run.samples.labels is None or network not in run.samples.predictions:
            return Absent(f"{run.name} measured no accuracy of the {network}")
    if base.samples.dataset.id != head.samples.dataset.id:
        return Absent("the two runs saw other images, so their predictions are no pairs")
    labels = base.samples.labels or ()
    before, after = (run.samples.predictions[network] for run in (base, head))
    lost = gained = 0
    for label, first, second in zip(labels, before, after, strict=True):
        lost += first == label != second
        gained += second == label != first
    return drop_estimate(lost, gained, len(labels), confidence)


def _latency_ratio(base: Run, head: Run, confidence: float) -> Estimate | Absent:
    if base.teacher_sha256 != head.teacher_sha256:
        return Absent("the teachers differ, so nothing measured in both runs ties them together")
    for fact in _SAME_MACHINE:
        before, after = base.host.get(fact), head.host.get(fact)
        if before != after:
            return Absent(f"measured on different machines ({fact}: {before}, {after})")
    before, after = base.host.get("torch"), head.host.get("torch")
    if before and after and before != after:
        return Absent(f"the teacher ran in different versions of torch ({before}, {after})")
    first, second = base.measurements.latency, head.measurements.latency
    if first is None or second is None:
        return Absent("a run measured no latency")
    for condition, of_base, of_head in (
        ("batch", first.headline.batch, second.headline.batch),
        ("threads", first.threads, second.threads),
        ("device", first.device, second.device),
    ):
        if of_base != of_head:
            return Absent(f"measured with another {condition} ({of_base}, {of_head})")
    return ratio_estimate(first.headline.speedup, second.headline.speedup, confidence)


def ratio_estimate(base: RatioRecord, head: RatioRecord, confidence: float) -> Estimate:
    """Return B's latency over A's from the speed-up of each, with bounds.

    The logarithms of the two medians are independent, so their reaches add in quadrature.
    """
    value = base.median / head.median
    first, second = (speedup_estimate(ratio, confidence) for ratio in (base, head))

    def bounds(times: float) -> Bounds:
        a, b = (speedup.with_samples(times) for speedup in (first, second) if speedup.with_samples)
        down = math.hypot(math.log(first.value / a.low), math.log(b.high / second.value))
        up = math.hypot(math.log(a.high / first.value), math.log(second.value / b.low))
        return Bounds(value * math.exp(-down), value * math.exp(up))

    n, processes = min(first.n, second.n), min(first.processes, second.processes)
    is_held = first.is_held or second.is_held
    return Estimate(value, bounds(1), n, bounds, processes, is_held=is_held)


def find_run(name: str, store: Store) -> Run:
    """Return the run that `name` stands for.

    That is a path to a report.json, to a working folder or the folder of a project, or the id of
    a run in the working folder `store`, or its beginning.

    Raises:
        UsageError: It names nothing.
        StoreError: What it names holds no measurements, or damaged ones.
    """
    path = Path(name)
    if path.is_file():
        stages = {stage.name: stage for stage in read_stages(name, path)}
        validate = stages.get(VALIDATE)
        if validate is None or not {MEASUREMENTS, SAMPLES} <= validate.outputs.keys():
            wrong = "reports no measurements (validate absent)"
            raise StoreError(name, wrong, "madpipe run validate")
        teacher = stages["teacher"].outputs.get("weights") if "teacher" in stages else None
        return Run(
            name=name,
            measurements=read(_file(path, validate.outputs[MEASUREMENTS]), Measurements),
            samples=read(_file(path, validate.outputs[SAMPLES]), Samples),
            teacher_sha256=teacher.sha256 if teacher else "",
            host=validate.host or {},
        )
    if path.is_dir():
        inner = path / HOME_FOLDER
        folder = Store(inner if inner.is_dir() else path)
        folder.check_layout()
        return _from_entry(name, folder.newest(VALIDATE))
    ids = sorted(record.stem for record in store.runs_path.glob("*.json"))
    matching = [run_id for run_id in ids if run_id.startswith(name)]
    if len(matching) != 1:
        wrong = f"{f'{len(matching)} runs' if matching else 'no run'} of that name ({name})"
        remedy = f"give a path, or one of {', '.join(ids[-3:]) or 'the runs once there are some'}"
        raise UsageError("compare", wrong, remedy)
    store.check_layout()
    path = store.runs_path / f"{matching[0]}.json"
    run = run_records.read(path, remedy="name another run")
    key = next((record.key for record in run.stages if record.name == VALIDATE), None)
    return _from_entry(name, store.read(VALIDATE, key) if key else None)


def _from_entry(name: str, entry: Entry | None) -> Run:
    if entry is None:
        raise StoreError(name, "holds no measurements (none stored)", "madpipe run validate there")
    if damage := damage_of(entry):
        raise StoreError(str(entry.path), f"is damaged ({damage})", "madpipe run validate")
    inputs: Mapping[str, str] = entry.record.key_document.get("inputs", {})
    return Run(
        name=name,
        measurements=read(entry.output(MEASUREMENTS), Measurements),
        samples=read(entry.output(SAMPLES), Samples),
        teacher_sha256=inputs.get("teacher/weights", ""),
        host=entry.record.host,
    )


def _file(report: Path, output: OutputFile) -> Path:
    """Return a file of a report: beside it, as CI keeps it, or where it was when it was written."""
    original = Path(output.path)
    for path in (report.parent / original.name, original):
        if path.is_file():
            return path
    wrong = f"its {original.name} is neither beside it nor where it was ({original})"
    raise StoreError(str(report), wrong, f"keep {original.name} beside the report")

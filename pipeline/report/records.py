"""The report as records, `madpipe.report/1`: what `madpipe report --format json` writes.

`scripts/report_schema.py` generates `docs/report.schema.json` from them. Fractions are 0 to 1;
times are seconds unless the name says `_ms`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from pipeline import stored_files
from pipeline.errors import StoreError
from pipeline.gates import measurements
from pipeline.gates.build_records import Candidate, Count, EngineManifest, Sha256
from pipeline.gates.judge import Verdict
from pipeline.gates.pictures import WorstImage
from pipeline.gates.real_images import RealImages

SCHEMA = "madpipe.report/1"

Form = Literal[
    "html",
    "json",
    "markdown",
    "junit",
    "github-benchmark-smaller",
    "github-benchmark-bigger",
    "bencher",
    "gitlab-codequality",
    "gitlab-metrics",
]
"""The forms of a report, by the names that `madpipe report --format` takes."""

CurvePoint = Mapping[str, int | float]
"""One monitored training round: its number as `round`, and a value for each curve."""


class OutputFile(Struct, frozen=True, kw_only=True):
    """One output of a stage."""

    path: str
    sha256: Sha256
    bytes: Count


class StageReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One stage of the run; seconds are of the run that made it, elapsed_s of this one."""

    name: str
    status: Literal["hit", "ran", "resumed", "failed"]
    key: Sha256 | None
    seconds: float
    elapsed_s: float
    metrics: Mapping[str, Any]
    outputs: Mapping[str, OutputFile]
    message: str = ""
    """Why it failed."""
    created_utc: str | None = None
    host: Mapping[str, str] | None = None


class RunSummary(Struct, frozen=True, kw_only=True):
    """The command that ran, and when."""

    command: str
    started_utc: str
    elapsed_s: float


class LatencyReport(Struct, frozen=True, kw_only=True):
    """Latencies; teacher, engine and speedup are those at batch size 1, or at the first."""

    teacher: measurements.LatencyRecord | None = None
    engine: measurements.LatencyRecord | None = None
    speedup: measurements.RatioRecord | None = None
    threads: int | None = None
    device: str | None = None
    processes: int | None = None
    conditions: measurements.Conditions | None = None
    teacher_engine_absent: str | None = None
    first_inference: measurements.FirstInference | None = None
    batches: tuple[measurements.BatchLatency, ...] = ()


class Report(Struct, frozen=True, kw_only=True, tag_field="schema", tag=SCHEMA):
    """One run: its stages, what was measured, and the verdicts.

    What was not measured is empty or, for a single record, None, which is `{}` in the JSON.
    """

    run: RunSummary
    stages: tuple[StageReport, ...]
    dataset: measurements.DatasetPart | None = field(default=None, name="set")
    accuracy: Mapping[str, measurements.Accuracy] = {}
    """By network: teacher, student, onnx, graph, engine."""
    agreement: Mapping[str, measurements.Agreement] = {}
    bank_agreement: Mapping[str, measurements.Agreement] = {}
    """On synthetic images, where no labelled ones exist; this is no accuracy."""
    images_agreement: Mapping[str, measurements.Agreement] = {}
    """On unlabelled images that the student did not learn from."""
    real_images: RealImages | None = None
    """The real images that the distillation used; None where nobody recorded that."""
    paired: Mapping[str, measurements.PairedDrop] = {}
    worst_images: tuple[WorstImage, ...] = ()
    """What student or engine get wrong, the worst first: as many as validate stored pictures of."""
    latency: LatencyReport = LatencyReport()
    memory: measurements.Memory | None = None
    engine: EngineManifest | None = None
    candidates: tuple[Candidate, ...] = ()
    """What build tried; empty where it had no choice."""
    curves: tuple[CurvePoint, ...] = ()
    """Thinned to what a plot can show; empty where distill left none."""
    gates: tuple[Verdict, ...] = ()
    environment: Mapping[str, str] = {}
    measured_on: Mapping[str, str] = {}
    """What was otherwise where the stored measurements were made than in environment."""

    @property
    def verdict(self) -> tuple[Literal["pass", "fail", "inconclusive", "none"], str]:
        """The verdict on the whole run, and why: the worst that decides comes first."""
        for stage in self.stages:
            if stage.status == "failed":
                return "fail", f"stage {stage.name} failed: {stage.message}".rstrip(": ")
        if all(gate.is_elsewhere for gate in self.gates):
            return "none", "nothing was judged in this run"
        strict = [gate for gate in self.gates if not gate.only_warns]
        if failed := [gate.name for gate in strict if gate.verdict == "fail"]:
            return "fail", ", ".join(failed)
        if undecided := [
            f"{gate.name} (not measured)" if gate.verdict == "skipped" else gate.name
            for gate in strict
            if gate.is_open
        ]:
            return "inconclusive", ", ".join(undecided)
        passed = sum(gate.verdict == "pass" for gate in self.gates)
        reasons = [f"{passed} of {len(self.gates)} gates passed"]
        if waiting := sum(gate.is_elsewhere for gate in self.gates):
            reasons.append(f"{waiting} wait for the engine's GPU")
        if warned := sorted(g.name for g in self.gates if g.only_warns and g.is_unmet):
            reasons.append(f"warned of {', '.join(warned)}")
        return "pass", ", ".join(reasons)


class _StoredReport(Struct):
    schema: str | None = None
    stages: msgspec.Raw = msgspec.Raw(b"[]")
    environment: msgspec.Raw = msgspec.Raw(b"{}")


class StoredReport(Struct, frozen=True, kw_only=True):
    """What leads from a report in a file to what its run stored."""

    stages: tuple[StageReport, ...]
    environment: Mapping[str, str]


def read_stored(name: str, path: Path) -> StoredReport:
    """Return the stages of a report in a file, and where its run was.

    Raises:
        StoreError: `name` is no report, or of another version.
    """
    remedy = "write it anew: madpipe baseline FOLDER, or madpipe report --format json"
    try:
        report = stored_files.decode(stored_files.read_bytes(path), _StoredReport)
        if report.schema == SCHEMA:
            return StoredReport(
                stages=stored_files.decode(report.stages, tuple[StageReport, ...]),
                environment=stored_files.decode(report.environment, dict[str, str]),
            )
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(name, f"is no report ({error})", remedy) from error
    is_report = (report.schema or "").startswith("madpipe.report/")
    fault = "is of another version" if is_report else "is no report"
    raise StoreError(name, f"{fault} ({report.schema}, not {SCHEMA})", remedy)


EMPTY_WHERE_ABSENT = {
    "Report": ("set", "memory", "engine", "real_images"),
    "LatencyReport": ("teacher", "engine", "speedup", "conditions", "first_inference"),
}
"""Records that are `{}` in the JSON where they are None, so that readers find an object."""

LEFT_OUT = "quantiles"
"""The field of several records that the JSON does not have: the verdicts hold its bounds."""


def to_json(report: Report) -> str:
    """Return the report as readable JSON."""
    document = _without_quantiles(msgspec.to_builtins(report))
    latency = document["latency"]
    document |= {name: document[name] or {} for name in EMPTY_WHERE_ABSENT["Report"]}
    latency |= {name: latency[name] or {} for name in EMPTY_WHERE_ABSENT["LatencyReport"]}
    return json.dumps(document, indent=2)


def _without_quantiles(value: Any) -> Any:
    if isinstance(value, dict):
        items = value.items()
        return {name: _without_quantiles(part) for name, part in items if name != LEFT_OUT}
    return [_without_quantiles(part) for part in value] if isinstance(value, tuple) else value


def with_measurements(report: Report, measured: measurements.Measurements) -> Report:
    """Return a report with what was measured."""
    latency = LatencyReport()
    if measured.latency:
        batch = measured.latency.headline
        latency = LatencyReport(
            teacher=batch.teacher,
            engine=batch.engine,
            speedup=batch.speedup,
            **msgspec.structs.asdict(measured.latency),
        )
    return msgspec.structs.replace(
        report,
        dataset=measured.dataset,
        accuracy=measured.accuracy,
        agreement=measured.agreement,
        bank_agreement=measured.bank_agreement,
        images_agreement=measured.images_agreement,
        real_images=report.real_images or measured.engine.real_images,
        paired=measured.paired,
        latency=latency,
        memory=measured.memory,
        engine=measured.engine,
    )

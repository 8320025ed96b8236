"""The report of the last run, from what is stored; every form is rendered from it.

Built from records alone: the last run, the entries it used, and the gates of the settings. So
it also works after a run that failed half-way.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from pipeline import machine, run_records
from pipeline.cache.store import Entry
from pipeline.config.load import table_of
from pipeline.errors import StoreError
from pipeline.gates.build_records import Candidate, Candidates
from pipeline.gates.judge import Verdict, judge
from pipeline.gates.measurements import Latency, Measurements
from pipeline.project import VALIDATE, Project
from pipeline.report.records import (
    CurvePoint,
    LatencyReport,
    OutputFile,
    Report,
    RunSummary,
    StageReport,
)
from pipeline.settings import Gate

_RELEVANT_FACTS = (
    "madpipe", "cpu", "cores", "gpu0",
    "torch", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx",
)  # fmt: skip
"""Facts of a host that change what is measured there."""
_MOST_POINTS = 400
_CURVE_POINTS = msgspec.json.Decoder(CurvePoint)


def document(project: Project, verdicts: Sequence[Verdict] | None = None) -> Report:
    """Return the report of the last run, with its own verdicts or those given.

    Raises:
        StoreError: Nothing has run yet, or what is stored is damaged.
    """
    run = run_records.latest(project.store)
    if run is None:
        raise StoreError(
            str(project.store.home), "holds no run to report (none stored)", "madpipe run all first"
        )
    measurements = _measurements(project, run)
    if verdicts is None:
        verdicts = judge(measurements, _gates(project, run)) if measurements else ()
    environment = run.environment or machine.environment(project.path.resolve().parent)
    entries = {record.name: _entry(project, record) for record in run.stages}
    report = Report(
        run=RunSummary(
            command=run.command,
            started_utc=run.started_utc,
            elapsed_s=round(run.elapsed_s, 3),
        ),
        stages=tuple(_stage(entries[record.name], record) for record in run.stages),
        candidates=_candidates(entries.get("build")),
        curves=_curves(entries.get("distill")),
        gates=tuple(verdicts),
        environment=environment,
        measured_on=_differing_facts(entries.get(VALIDATE), environment),
    )
    if measurements is None:
        return report
    return msgspec.structs.replace(
        report,
        dataset=measurements.dataset,
        accuracy=measurements.accuracy,
        agreement=measurements.agreement,
        bank_agreement=measurements.bank_agreement,
        paired=measurements.paired,
        latency=_latency(measurements.latency) if measurements.latency else LatencyReport(),
        memory=measurements.memory,
        engine=measurements.engine,
    )


def _measurements(project: Project, run: run_records.RunRecord) -> Measurements | None:
    is_in_run = any(record.name == VALIDATE and record.status != "failed" for record in run.stages)
    return project.measurements() if is_in_run else None


def _gates(project: Project, run: run_records.RunRecord) -> Mapping[str, Gate]:
    """Return the gates to report by: those of the run, unless other ones were asked for since.

    They are asked for by --set, or by an edit of pipeline.toml.
    """
    is_edited = run.file_gates is not None and run.file_gates != table_of(project.path, "gates")
    return project.settings.gates if project.sets_gates or is_edited else run.gates


def _entry(project: Project, record: run_records.StageRecord) -> Entry | None:
    if record.key is None or record.status == "failed":
        return None
    return project.store.read(record.name, record.key)


def _differing_facts(entry: Entry | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what was otherwise where the measurements were made than where the run was."""
    host = entry.record.host if entry else {}
    return {
        name: host[name]
        for name in _RELEVANT_FACTS
        if name in host and host[name] != environment.get(name)
    }


def _latency(latency: Latency) -> LatencyReport:
    batch = latency.headline
    return LatencyReport(
        teacher=batch.teacher,
        engine=batch.engine,
        speedup=batch.speedup,
        threads=latency.threads,
        device=latency.device,
        processes=latency.processes,
        conditions=latency.conditions,
        teacher_engine_absent=latency.teacher_engine_absent,
        batches=latency.batches,
    )


def _stage(entry: Entry | None, record: run_records.StageRecord) -> StageReport:
    report = StageReport(
        name=record.name,
        status=record.status,
        key=record.key,
        seconds=record.elapsed_s,
        elapsed_s=round(record.elapsed_s, 3),
        metrics={},
        outputs={},
        message=record.message,
    )
    if entry is None:
        return report
    return msgspec.structs.replace(
        report,
        seconds=round(entry.record.seconds, 3),
        metrics=entry.record.metrics,
        outputs={
            name: OutputFile(path=str(entry.output(name)), sha256=output.sha256, bytes=output.bytes)
            for name, output in entry.record.outputs.items()
        },
        created_utc=entry.record.created_utc,
        host=entry.record.host,
    )


def _candidates(build: Entry | None) -> tuple[Candidate, ...]:
    """Return what build tried, nothing where it left no table or one that cannot be read."""
    content = _content(build, "candidates")
    try:
        return msgspec.json.decode(content, type=Candidates).candidates if content else ()
    except msgspec.DecodeError:
        return ()


def _curves(distill: Entry | None) -> tuple[CurvePoint, ...]:
    """Return a point for each monitored round, thinned to what a plot can show."""
    content = _content(distill, "curves")
    try:
        points = _CURVE_POINTS.decode_lines(content or b"")
    except msgspec.DecodeError:
        return ()
    if len(points) <= _MOST_POINTS:
        return tuple(points)
    last = len(points) - 1
    return tuple(
        points[round(number * last / (_MOST_POINTS - 1))] for number in range(_MOST_POINTS)
    )


def _content(entry: Entry | None, output: str) -> bytes | None:
    """Return what a stage left for the report beside its main results, None where it did not."""
    if entry is None or output not in entry.record.outputs:
        return None
    try:
        return Path(entry.output(output)).read_bytes()
    except OSError:
        return None

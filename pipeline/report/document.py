"""The report of the last run, from what is stored; every form is rendered from it.

Built from records alone: the last run, the entries it used, and the gates of the settings. So
it also works after a run that failed half-way.
"""

from collections.abc import Sequence

import msgspec

from pipeline import machine, run_records, stored_files
from pipeline.cache.entry import Entry
from pipeline.config.load import table_of
from pipeline.errors import StoreError
from pipeline.gates import pictures
from pipeline.gates.build_records import Candidate, Candidates
from pipeline.gates.judge import Verdict, judge
from pipeline.gates.pictures import WorstImage
from pipeline.project import DISTILL, VALIDATE, Project, measurements_of, real_images_of
from pipeline.report import records
from pipeline.report.records import OutputFile, Report, RunSummary, StageReport, with_measurements

_RELEVANT_FACTS = (
    "madpipe", "cpu", "cores", "gpu0",
    "torch", "onnxruntime-gpu", "onnxruntime", "openvino",
    "tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-rtx",
    "tensorrt-rtx-cu13", "tensorrt-rtx-cu12",
)  # fmt: skip
"""Facts of a host that change what is measured there."""
_MOST_POINTS = 400
PICTURES = "pictures"
"""The output of validate that holds the worst images."""


def document(project: Project, verdicts: Sequence[Verdict] | None = None) -> Report:
    """Return the report of the last run, with its own verdicts or those given.

    Raises:
        StoreError: Nothing has run yet, or what is stored is damaged.
    """
    run = run_records.latest(project.store)
    if run is None:
        wrong = f"holds no run to report ({project.none_stored})"
        raise StoreError(str(project.store.home), wrong, "madpipe run all first")
    entries = {
        record.name: project.store.read(record.name, record.key)
        if record.key and record.status != "failed"
        else None
        for record in run.stages
    }
    validate = entries.get(VALIDATE)
    measurements = measurements_of(validate) if validate else None
    if verdicts is None:
        # By the gates of the run, or those asked for since by --set or in pipeline.toml.
        is_set = any(change.lstrip().startswith("gates") for change in project.overrides)
        is_edited = run.file_gates is not None and run.file_gates != table_of(project.path, "gates")
        gates = project.settings.gates if is_set or is_edited else run.gates
        verdicts = judge(measurements, gates) if measurements else ()
    environment = run.environment or machine.environment(project.path.resolve().parent)
    host = validate.record.host if validate else {}
    report = Report(
        run=RunSummary(
            command=run.command, started_utc=run.started_utc, elapsed_s=round(run.elapsed_s, 3)
        ),
        stages=tuple(_stage(record, entries[record.name]) for record in run.stages),
        candidates=_candidates(entries.get("build")),
        curves=_curves(entries.get(DISTILL)),
        real_images=real_images_of(entries.get(DISTILL)),
        worst_images=_worst_images(validate),
        gates=tuple(verdicts),
        environment=environment,
        measured_on={
            fact: host[fact]
            for fact in _RELEVANT_FACTS
            if fact in host and host[fact] != environment.get(fact)
        },
    )
    return with_measurements(report, measurements) if measurements else report


def _stage(record: run_records.StageRecord, entry: Entry | None) -> StageReport:
    stored = entry.record if entry else None
    return StageReport(
        name=record.name,
        status=record.status,
        key=record.key,
        seconds=round(stored.seconds, 3) if stored else record.elapsed_s,
        elapsed_s=round(record.elapsed_s, 3),
        metrics=stored.metrics if stored else {},
        outputs={
            name: OutputFile(path=str(entry.output(name)), sha256=output.sha256, bytes=output.bytes)
            for name, output in entry.record.outputs.items()
        }
        if entry
        else {},
        message=record.message,
        created_utc=stored.created_utc if stored else None,
        host=stored.host if stored else None,
    )


def _candidates(build: Entry | None) -> tuple[Candidate, ...]:
    """Return what build tried, nothing where it left no table or one that cannot be read."""
    content = _content(build, "candidates")
    try:
        return stored_files.decode(content, Candidates).candidates if content else ()
    except msgspec.DecodeError:
        return ()


def _worst_images(validate: Entry | None) -> tuple[WorstImage, ...]:
    """Return what networks answer for the worst images, nothing where none were stored."""
    if validate is None or PICTURES not in validate.record.outputs:
        return ()
    try:
        stored = pictures.read(validate.output(PICTURES))
    except StoreError:
        return ()
    return tuple(picture.worst for picture in stored.pictures)


def _curves(distill: Entry | None) -> tuple[records.CurvePoint, ...]:
    """Return a point for each monitored round, thinned to what a plot can show."""
    content = _content(distill, "curves")
    try:
        lines = filter(None, map(bytes.strip, content.splitlines()))
        points = [stored_files.decode(line, dict[str, int | float]) for line in lines]
    except msgspec.DecodeError:
        return ()
    if len(points) <= _MOST_POINTS:
        return tuple(points)
    last = len(points) - 1
    kept = (round(number * last / (_MOST_POINTS - 1)) for number in range(_MOST_POINTS))
    return tuple(points[number] for number in kept)


def _content(entry: Entry | None, name: str) -> bytes:
    """Return what a stage left for the report beside its main results, nothing if it did not."""
    try:
        is_left = entry is not None and name in entry.record.outputs
        return stored_files.read_bytes(entry.output(name)) if entry and is_left else b""
    except OSError:
        return b""

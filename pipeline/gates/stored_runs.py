"""One run to compare, found by its id, its folder or its report, with all that it stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import run_records
from pipeline.cache.entry import Entry, damage_of
from pipeline.cache.keys import file_sha256
from pipeline.cache.store import Store
from pipeline.errors import StoreError, UsageError
from pipeline.gates.measurement_files import read
from pipeline.gates.measurements import Measurements, Samples
from pipeline.paths import HOME_FOLDER
from pipeline.project import MEASUREMENTS, VALIDATE
from pipeline.report.records import OutputFile, read_stored

SAMPLES = "samples"
REPORT = "report.json"
"""The report of a baseline, beside which the measurements and samples lie."""
_KEEP = "madpipe baseline FOLDER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run to compare."""

    name: str
    measurements: Measurements
    samples: Samples
    teacher_sha256: str
    """Empty where the run does not say which teacher it had."""
    host: Mapping[str, str]
    revision: str = ""
    """The git revision of its folder, where its report says it."""


def find_run(name: str, store: Store) -> Run:
    """Return the run that `name` stands for.

    That is a path to a report.json or the folder of a baseline, to a working folder or the folder
    of a project, or the id of a run in the working folder `store`, or its beginning.

    Raises:
        UsageError: It names nothing.
        StoreError: What it names holds no measurements, or damaged ones.
    """
    path = Path(name)
    if (path / REPORT).is_file() and not (path / HOME_FOLDER).is_dir():
        path /= REPORT
    if path.is_file():
        report = read_stored(name, path)
        stages = {stage.name: stage for stage in report.stages}
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
            revision=report.environment.get("git", ""),
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
    """Return a file of a report: beside it, as CI keeps it, or where it was when it was written.

    Raises:
        StoreError: It is not there, or is another one than the report was made of.
    """
    original = Path(output.path)
    for path in (report.parent / original.name, original):
        if path.is_file():
            sha256 = file_sha256(path)
            if sha256 != output.sha256:
                seen = f"sha256 {sha256[:12]}, in the report {output.sha256[:12]}"
                wrong = f"is damaged, or of another run than {report.name} ({seen})"
                raise StoreError(str(path), wrong, f"keep both of one run: {_KEEP}")
            return path
    wrong = f"its {original.name} is neither beside it nor where it was ({original})"
    raise StoreError(str(report), wrong, f"keep {original.name} beside the report: {_KEEP}")

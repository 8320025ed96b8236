"""Finding the two runs that are compared: by a run's id, a working folder, or a report.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline import run_records
from pipeline.cache.store import Entry, Store, damage_of
from pipeline.errors import StoreError, UsageError
from pipeline.gates.compare import Side, read_samples
from pipeline.project import HOME_FOLDER, JUDGED_OUTPUT, JUDGED_STAGE, read_measurements

SAMPLES = "samples"
_REPORT_PREFIX = "madpipe.report/"
_REPORT = "madpipe.report/1"
_TEACHER = "teacher/weights"


def find(name: str, store: Store) -> Side:
    """Return the run that `name` stands for.

    Args:
        name: A path to a report.json, to a working folder or the folder of a project, or the
            id of a run of `store`, or its beginning.
        store: The working folder in which run ids are looked up.

    Raises:
        UsageError: It names nothing.
        StoreError: What it names holds no measurements, or damaged ones.
    """
    path = Path(name)
    if path.is_file():
        return _from_report(name, path)
    if path.is_dir():
        inner = path / HOME_FOLDER
        return _from_store(name, Store(inner if inner.is_dir() else path), None)
    found = sorted(each.stem for each in store.runs_path.glob("*.json"))
    matching = [each for each in found if each.startswith(name)]
    if len(matching) != 1:
        raise UsageError(
            "compare",
            f"{'no run' if not matching else f'{len(matching)} runs'} of that name ({name})",
            f"give a path, or one of {', '.join(found[-3:]) or 'the runs once there are some'}",
        )
    return _from_store(name, store, store.runs_path / f"{matching[0]}.json")


def _from_store(name: str, store: Store, record_path: Path | None) -> Side:
    store.check_layout()
    entry = store.newest(JUDGED_STAGE)
    if record_path is not None:
        try:
            record = msgspec.json.decode(record_path.read_bytes(), type=run_records.RunRecord)
        except (OSError, msgspec.DecodeError) as error:
            raise StoreError(
                str(record_path), f"is no record of a run ({error})", "name another run"
            ) from error
        keys = [each.key for each in record.stages if each.name == JUDGED_STAGE]
        entry = store.read(JUDGED_STAGE, keys[0]) if keys and keys[0] else None
    if entry is None:
        raise StoreError(name, "holds no measurements (none stored)", "madpipe run validate there")
    if damage := damage_of(entry):
        raise StoreError(str(entry.path), f"is damaged ({damage})", "madpipe run validate")
    return _side(name, entry)


def _side(name: str, entry: Entry) -> Side:
    inputs: Mapping[str, str] = entry.record.key_document.get("inputs", {})
    return Side(
        name=name,
        measurements=read_measurements(entry.output(JUDGED_OUTPUT)),
        samples=read_samples(entry.output(SAMPLES)),
        teacher_sha256=inputs.get(_TEACHER, ""),
        host=entry.record.host,
    )


def _from_report(name: str, path: Path) -> Side:
    try:
        report: dict[str, Any] = json.loads(path.read_bytes())
        schema = str(report.get("schema"))
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(name, f"is no report ({error})", "madpipe report --format json") from error
    if schema != _REPORT:
        kind = "is of another version" if schema.startswith(_REPORT_PREFIX) else "is no report"
        raise StoreError(name, f"{kind} ({schema}, not {_REPORT})", "madpipe report --format json")
    stages = {each["name"]: each for each in report["stages"]}
    judged = stages.get(JUDGED_STAGE, {})
    outputs = judged.get("outputs", {})
    if JUDGED_OUTPUT not in outputs or SAMPLES not in outputs:
        raise StoreError(name, "reports no measurements (validate absent)", "madpipe run validate")
    teacher = stages.get("teacher", {}).get("outputs", {}).get("weights", {})
    return Side(
        name=name,
        measurements=read_measurements(_file(path, outputs[JUDGED_OUTPUT])),
        samples=read_samples(_file(path, outputs[SAMPLES])),
        teacher_sha256=teacher.get("sha256", ""),
        host=judged.get("host", {}),
    )


def _file(report: Path, output: Mapping[str, Any]) -> Path:
    """Return a file of a report: beside it, as CI keeps it, or where it was when it was written."""
    there = Path(output["path"])
    beside = report.parent / there.name
    found = beside if beside.is_file() else there
    if not found.is_file():
        raise StoreError(
            str(report),
            f"its {there.name} is neither beside it nor where it was ({there})",
            f"keep {there.name} beside the report",
        )
    return found

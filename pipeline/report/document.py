"""The report as one plain document, `madpipe.report/1`; every form is rendered from it.

Built from records alone: the last run, the entries it used, and the gates of the settings. So
it also works after a run that failed half-way.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import machine, run_records
from pipeline.cache.store import Entry
from pipeline.errors import StoreError
from pipeline.gates.judge import Verdict, as_record, headline_batch, judge
from pipeline.project import JUDGED_STAGE, Project
from pipeline.report import extras
from pipeline.settings import Gate

SCHEMA = "madpipe.report/1"
_TELLING = (
    "madpipe", "cpu", "cores", "gpu0",
    "torch", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx",
)  # fmt: skip
"""Facts of a host that change what is measured there."""


def document(project: Project, verdicts: Sequence[Verdict] | None = None) -> dict[str, Any]:
    """Return the report of the last run, with its own verdicts or those given.

    Raises:
        StoreError: Nothing has run yet, or what is stored is damaged.
    """
    run = run_records.latest(project.store)
    if run is None:
        raise StoreError(
            str(project.store.home), "holds no run to report (none stored)", "madpipe run all first"
        )
    measured = _measured(project, run)
    gates = judge(measured, _gates(project, run)) if measured else []
    environment = run.environment or machine.environment(project.path.resolve().parent)
    entries = {record.name: _entry(project, record) for record in run.stages}
    return {
        "schema": SCHEMA,
        "run": {
            "command": run.command,
            "started_utc": run.started_utc,
            "elapsed_s": round(run.elapsed_s, 3),
        },
        "stages": [_stage(entries[record.name], record) for record in run.stages],
        "set": measured.get("set", {}),
        "accuracy": {
            name: {key: _without_quantiles(value) for key, value in record.items()}
            for name, record in measured.get("accuracy", {}).items()
        },
        "agreement": measured.get("agreement", {}),
        "bank_agreement": measured.get("bank_agreement", {}),
        "paired": measured.get("paired", {}),
        "latency": _latency(measured),
        "memory": measured.get("memory", {}),
        "engine": measured.get("engine", {}),
        "candidates": extras.candidates(entries.get("build")),
        "curves": extras.curves(entries.get("distill")),
        "gates": [as_record(verdict) for verdict in (gates if verdicts is None else verdicts)],
        "environment": environment,
        "measured_on": _differing(entries.get(JUDGED_STAGE), environment),
    }


def _gates(project: Project, run: run_records.RunRecord) -> Mapping[str, Gate]:
    """Return the gates to report by: those of the run, unless other ones were asked for since.

    They are asked for by --set, or by an edit of pipeline.toml.
    """
    is_edited = run.file_gates is not None and run.file_gates != project.file_gates()
    return project.settings.gates if project.sets_gates or is_edited else run.gates


def _differing(entry: Entry | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what was otherwise where the measurements were made than where the run was."""
    host = entry.record.host if entry else {}
    return {
        name: host[name]
        for name in _TELLING
        if name in host and host[name] != environment.get(name)
    }


def _latency(measured: dict[str, Any]) -> dict[str, Any]:
    latency = measured.get("latency") or {}
    first = headline_batch(measured) or {}
    return {
        "teacher": _without_quantiles(first.get("teacher") or {}),
        "engine": _without_quantiles(first.get("engine") or {}),
        "speedup": _without_quantiles(first.get("speedup") or {}),
        "threads": latency.get("threads"),
        "device": latency.get("device"),
        "processes": latency.get("processes"),
        "conditions": latency.get("conditions", {}),
        "teacher_engine_absent": latency.get("teacher_engine_absent"),
        "batches": [
            {name: _without_quantiles(value) for name, value in each.items()}
            for each in latency.get("batches", [])
        ],
    }


def _measured(project: Project, run: run_records.RunRecord) -> dict[str, Any]:
    is_in_run = any(each.name == JUDGED_STAGE and each.status != "failed" for each in run.stages)
    return (project.measurements() or {}) if is_in_run else {}


def _stage(entry: Entry | None, record: run_records.StageRecord) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": record.name,
        "status": record.status,
        "key": record.key,
        "seconds": round(entry.record.seconds, 3) if entry else record.elapsed_s,
        "elapsed_s": round(record.elapsed_s, 3),
        "metrics": entry.record.metrics if entry else {},
        "outputs": {},
    }
    if record.message:
        shown["message"] = record.message
    if entry is not None:
        shown["outputs"] = {
            name: {"path": str(entry.output(name)), "sha256": each.sha256, "bytes": each.bytes}
            for name, each in entry.record.outputs.items()
        }
        shown["created_utc"] = entry.record.created_utc
        shown["host"] = entry.record.host
    return shown


def _entry(project: Project, record: run_records.StageRecord) -> Entry | None:
    if record.key is None or record.status == "failed":
        return None
    return project.store.read(record.name, record.key)


def _without_quantiles(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: each for name, each in value.items() if name != "quantiles"}

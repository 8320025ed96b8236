"""The report as one plain document, `madpipe.report/1`; every form is rendered from it.

Built from records alone: the last run, the entries it used, and the gates of the settings. So
it also works after a run that failed half-way.
"""

import json
from typing import Any

from pipeline import hostinfo, runs
from pipeline.errors import StoreError
from pipeline.gates import Verdict, headline_batch, judge
from pipeline.project import JUDGED_STAGE, Project
from pipeline.store import Entry

SCHEMA = "madpipe.report/1"


def document(project: Project) -> dict[str, Any]:
    """Return the report of the last run.

    Raises:
        StoreError: Nothing has run yet, or what is stored is damaged.
    """
    run = runs.latest(project.store)
    if run is None:
        raise StoreError(
            str(project.store.home), "holds no run to report (none stored)", "madpipe run all first"
        )
    measured = _measured(project, run)
    # Gates given with --set ask for a report by them; else it says what the run said.
    is_asked = any(each.startswith("gates") for each in project.overrides)
    gates = judge(measured, project.settings.gates if is_asked else run.gates) if measured else []
    latency = measured.get("latency", {})
    batches = latency.get("batches", [])
    first = headline_batch(measured) or {}
    return {
        "schema": SCHEMA,
        "run": {
            "command": run.command,
            "started_utc": run.started_utc,
            "elapsed_s": round(run.elapsed_s, 3),
        },
        "stages": [_stage(project, record) for record in run.stages],
        "accuracy": {
            name: {"top1": record["top1"], "n": record["n"]}
            for name, record in measured.get("accuracy", {}).items()
        },
        "agreement": {
            name: {"value": record["value"], "n": record["n"]}
            for name, record in measured.get("agreement", {}).items()
        },
        "paired": measured.get("paired", {}),
        "latency": {
            "teacher": _side(first.get("teacher")),
            "engine": _side(first.get("engine")),
            "speedup": _side(first.get("speedup")),
            "threads": latency.get("threads"),
            "device": latency.get("device"),
            "batches": [
                {
                    "batch": each["batch"],
                    "teacher": _side(each["teacher"]),
                    "engine": _side(each["engine"]),
                    "speedup": _side(each["speedup"]),
                }
                for each in batches
            ],
        },
        "engine": measured.get("engine", {}),
        "candidates": _candidates(project, run),
        "gates": [_gate(verdict) for verdict in gates],
        "environment": hostinfo.environment(project.store.home.parent),
    }


def _measured(project: Project, run: runs.RunRecord) -> dict[str, Any]:
    is_in_run = any(each.name == JUDGED_STAGE and each.status != "failed" for each in run.stages)
    return (project.measurements() or {}) if is_in_run else {}


def _candidates(project: Project, run: runs.RunRecord) -> list[dict[str, Any]]:
    """Return the engines that were tried, where a stage of the run left their table."""
    for record in run.stages:
        entry = _entry(project, record)
        if entry is not None and "candidates" in entry.manifest.outputs:
            table = json.loads(entry.output("candidates").read_bytes())
            rows: list[dict[str, Any]] = table["candidates"]
            return rows
    return []


def _stage(project: Project, record: runs.StageRecord) -> dict[str, Any]:
    entry = _entry(project, record)
    shown: dict[str, Any] = {
        "name": record.name,
        "status": record.status,
        "key": record.key,
        "seconds": round(entry.manifest.seconds, 3) if entry else record.elapsed_s,
        "elapsed_s": round(record.elapsed_s, 3),
        "metrics": entry.manifest.metrics if entry else {},
        "outputs": {},
    }
    if record.message:
        shown["message"] = record.message
    if entry is not None:
        shown["outputs"] = {
            name: {"path": str(entry.output(name)), "sha256": each.sha256, "bytes": each.bytes}
            for name, each in entry.manifest.outputs.items()
        }
        shown["created_utc"] = entry.manifest.created_utc
        shown["host"] = entry.manifest.host
    return shown


def _entry(project: Project, record: runs.StageRecord) -> Entry | None:
    if record.key is None or record.status == "failed":
        return None
    return project.store.read(record.name, record.key)


def _side(record: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (record or {}).items() if name != "quantiles"}


def _gate(verdict: Verdict) -> dict[str, Any]:
    shown = verdict._asdict()
    shown["interval"] = list(verdict.interval) if verdict.interval else None
    return shown

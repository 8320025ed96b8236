"""The report as Markdown, for a pull-request comment or a step summary."""

from collections.abc import Sequence

from pipeline.gates.build_records import Candidate
from pipeline.gates.measurements import BatchLatency, StepChange
from pipeline.report.records import Report
from pipeline.screen import formatting

_MARKER = "<!-- madpipe report -->"


def render(report: Report) -> str:
    """Return the report as Markdown."""
    verdict, reason = report.verdict
    lines = [_MARKER, f"## madpipe: {verdict}", "", reason, ""]
    lines += table(
        ("gate", "verdict", "because"),
        [
            (gate.name, formatting.verdict(gate.verdict, gate.severity), gate.reason)
            for gate in report.gates
        ],
    )
    lines += table(
        ("network", "top-1", "top-5", "calibration error", "agrees with teacher", "n"),
        [_accuracy_row(report, name) for name in report.accuracy],
    )
    lines += table(
        ("step", "lost", "gained", "answers changed", "classes that lost most"),
        [_step_row(name, paired.step) for name, paired in report.paired.items()],
    )
    lines += table(
        ("network", "agrees with teacher on synthetic images", "n"),
        [
            (name, _number(agreement.value, 4), str(agreement.n))
            for name, agreement in report.bank_agreement.items()
        ],
    )
    lines += table(
        (
            "batch",
            "teacher p50 ms",
            "teacher as engine",
            "engine",
            "p90",
            "speed-up",
            "95 % interval",
            "in the same backend",
            "pairs",
        ),
        [_latency_row(batch) for batch in report.latency.batches],
    )
    lines += table(
        ("candidate", "precision", "p50 ms", "differs from fp32", "verdict", "because"),
        [_candidate_row(candidate) for candidate in report.candidates],
    )
    lines += table(
        ("stage", "status", "seconds", "figures"),
        [
            (stage.name, stage.status, f"{stage.seconds:.1f}", formatting.metrics(stage.metrics))
            for stage in report.stages
        ],
    )
    lines.append(", ".join(f"{name} {value}" for name, value in report.environment.items()))
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table and an empty one after it; no lines where there are no rows."""
    if not rows:
        return []
    lines = [
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |"
        for row in (head, ["---"] * len(head), *rows)
    ]
    return [*lines, ""]


def _accuracy_row(report: Report, network: str) -> tuple[str, ...]:
    accuracy, agreement = report.accuracy[network], report.agreement.get(network)
    return (
        network,
        _number(accuracy.top1, 4),
        _number(accuracy.top5, 4),
        _number(accuracy.calibration.error, 4),
        _number(agreement.value if agreement else None, 4),
        str(accuracy.n),
    )


def _step_row(network: str, step: StepChange) -> tuple[str, ...]:
    worst = ", ".join(
        f"{loss.class_name} (-{loss.lost}/+{loss.gained} of {loss.n})" for loss in step.worst[:3]
    )
    counts = (step.lost, step.gained, step.changed)
    return (f"{step.reference} to {network}", *map(str, counts), worst)


def _latency_row(batch: BatchLatency) -> tuple[str, ...]:
    low, high = batch.speedup.interval
    teacher_engine, same_backend = batch.teacher_engine, batch.speedup_same_backend
    return (
        str(batch.batch),
        _number(batch.teacher.p50_ms, 3),
        _number(teacher_engine.p50_ms if teacher_engine else None, 3),
        _number(batch.engine.p50_ms, 3),
        _number(batch.engine.p90_ms, 3),
        _number(batch.speedup.median, 2),
        f"{low:.2f} to {high:.2f}",
        _number(same_backend.median if same_backend else None, 2),
        str(batch.speedup.pairs),
    )


def _candidate_row(candidate: Candidate) -> tuple[str, ...]:
    in_float = len(candidate.float_layers)
    return (
        candidate.backend,
        candidate.precision + (f", {in_float} layers fp32" if in_float else ""),
        _number(candidate.p50_ms, 3),
        _number(candidate.disagreement, 4),
        candidate.verdict,
        candidate.reason,
    )


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"

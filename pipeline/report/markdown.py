"""The report as Markdown, for a pull-request comment or a step summary."""

from typing import Any

from pipeline.report.summary import overall
from pipeline.screen import formatting

_MARKER = "<!-- madpipe report -->"


def render(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    verdict, because = overall(report)
    lines = [_MARKER, f"## madpipe: {verdict}", "", because, ""]
    lines += _table(
        ("gate", "verdict", "because"),
        [(g["name"], formatting.verdict(g), g["reason"]) for g in report["gates"]],
    )
    lines += _table(
        ("network", "top-1", "top-5", "calibration error", "agrees with teacher", "n"),
        [_accuracy_row(report, name) for name in report["accuracy"]],
    )
    lines += _table(
        ("step", "lost", "gained", "answers changed", "classes that lost most"),
        [_step_row(name, each["step"]) for name, each in report["paired"].items()],
    )
    lines += _table(
        ("network", "agrees with teacher on synthetic images", "n"),
        [(name, f"{r['value']:.4f}", str(r["n"])) for name, r in report["bank_agreement"].items()],
    )
    lines += _table(
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
        [_latency_row(each) for each in report["latency"]["batches"]],
    )
    lines += _table(
        ("candidate", "precision", "p50 ms", "differs from fp32", "verdict", "because"),
        [_candidate_row(each) for each in report.get("candidates", [])],
    )
    lines += _table(
        ("stage", "status", "seconds", "figures"),
        [
            (s["name"], s["status"], f"{s['seconds']:.1f}", formatting.metrics(s["metrics"]))
            for s in report["stages"]
        ],
    )
    environment = report["environment"]
    lines.append(", ".join(f"{name} {value}" for name, value in environment.items()))
    return "\n".join(lines) + "\n"


def _accuracy_row(report: dict[str, Any], name: str) -> tuple[str, ...]:
    record = report["accuracy"][name]
    agreement = report["agreement"].get(name, {}).get("value")
    return (
        name,
        f"{record['top1']:.4f}",
        _number(record.get("top5"), 4),
        _number(record.get("calibration", {}).get("error"), 4),
        _number(agreement, 4),
        str(record["n"]),
    )


def _step_row(name: str, step: dict[str, Any]) -> tuple[str, ...]:
    worst = ", ".join(
        f"{each['class']} (-{each['lost']}/+{each['gained']} of {each['n']})"
        for each in step["worst"][:3]
    )
    counts = (step["lost"], step["gained"], step["changed"])
    return (f"{step['reference']} to {name}", *map(str, counts), worst)


def _latency_row(each: dict[str, Any]) -> tuple[str, ...]:
    ratio = each["speedup"]
    low, high = ratio["interval"]
    return (
        str(each["batch"]),
        f"{each['teacher']['p50_ms']:.3f}",
        _number(each.get("teacher_engine", {}).get("p50_ms"), 3),
        f"{each['engine']['p50_ms']:.3f}",
        _number(each["engine"]["p90_ms"], 3),
        f"{ratio['median']:.2f}",
        f"{low:.2f} to {high:.2f}",
        _number(each.get("speedup_same_backend", {}).get("median"), 2),
        str(ratio["pairs"]),
    )


def _candidate_row(each: dict[str, Any]) -> tuple[str, ...]:
    in_float = each["float_layers"]
    return (
        each["backend"],
        each["precision"] + (f", {len(in_float)} layers fp32" if in_float else ""),
        "" if each["p50_ms"] is None else f"{each['p50_ms']:.3f}",
        "" if each["disagreement"] is None else f"{each['disagreement']:.4f}",
        each["verdict"],
        each["reason"],
    )


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    lines = [head, tuple("---" for _ in head), *rows]
    return [
        *(
            "| " + " | ".join(" ".join(each.split()).replace("|", "\\|") for each in row) + " |"
            for row in lines
        ),
        "",
    ]

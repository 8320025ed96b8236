"""The report as Markdown, for a pull-request comment or a step summary."""

from typing import Any

from pipeline.report.overall import overall
from pipeline.screen import words

_MARKER = "<!-- madpipe report -->"


def render(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    verdict, because = overall(report)
    lines = [_MARKER, f"## madpipe: {verdict}", "", because, ""]
    lines += _table(
        ("gate", "verdict", "because"),
        [(g["name"], g["verdict"], g["reason"]) for g in report["gates"]],
    )
    lines += _table(
        ("network", "top-1", "n"),
        [(name, f"{r['top1']:.4f}", str(r["n"])) for name, r in report["accuracy"].items()],
    )
    lines += _table(
        ("batch", "teacher p50 ms", "engine p50 ms", "speed-up", "95 % interval", "pairs"),
        [_latency_row(each) for each in report["latency"]["batches"]],
    )
    lines += _table(
        ("candidate", "precision", "p50 ms", "differs from fp32", "verdict", "because"),
        [_candidate_row(each) for each in report.get("candidates", [])],
    )
    lines += _table(
        ("stage", "status", "seconds", "figures"),
        [
            (s["name"], s["status"], f"{s['seconds']:.1f}", words.metrics(s["metrics"]))
            for s in report["stages"]
        ],
    )
    environment = report["environment"]
    lines.append(", ".join(f"{name} {value}" for name, value in environment.items()))
    return "\n".join(lines) + "\n"


def _latency_row(each: dict[str, Any]) -> tuple[str, ...]:
    ratio = each["speedup"]
    low, high = ratio["interval"]
    return (
        str(each["batch"]),
        f"{each['teacher']['p50_ms']:.3f}",
        f"{each['engine']['p50_ms']:.3f}",
        f"{ratio['median']:.2f}",
        f"{low:.2f} to {high:.2f}",
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

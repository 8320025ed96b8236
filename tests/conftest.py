"""What many tests share: a project of fake stages that needs no torch, and a memory of events."""

import copy
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.cache.digest_cache import DigestCache
from pipeline.cache.store import Store
from pipeline.events import Event
from pipeline.gates.measures import SCHEMA
from pipeline.project import Project
from pipeline.runner import Runner
from pipeline.settings import Settings
from pipeline.stage import External, Stage

Ran = list[str]


@pytest.fixture(autouse=True)
def _no_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test as outside of CI, wherever the suite itself runs."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty working folder, ready to be written to."""
    empty = Store(tmp_path / ".madpipe")
    empty.prepare()
    return empty


@pytest.fixture
def events() -> list[Event]:
    """The events of a run, in order; pass `events.append` as a sink."""
    return []


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Write a module of the package `fakestages` that stages can name, and forget it again.

    `code(source)` writes the package itself, `code(source, "helper")` its module `helper`.
    """
    package = tmp_path / "code" / "fakestages"
    package.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(package.parent))
    # Sources are rewritten within a second, which bytecode files would not notice.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str, module: str = "__init__") -> None:
        path = package / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        _forget()

    write("")
    yield write
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "fakestages"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def run(store: Store, events: list[Event]) -> Callable[..., Runner]:
    """Run stages against the store and return the runner."""

    def call(
        stages: tuple[Stage, ...],
        settings: Settings | None = None,
        force: frozenset[str] = frozenset(),
    ) -> Runner:
        runner = Runner(settings or Settings(), store, DigestCache(), [events.append], force=force)
        runner.run(stages)
        return runner

    return call


_SIDE: dict[str, Any] = {
    "batch": 1,
    "n": 400,
    "p90_ms": 0.7,
    "p99_ms": None,
    "needs": {"p99_ms": 459},
    "coefficient_of_variation": 0.05,
    "drift": {"ratio": 1.0, "interval": [0.99, 1.01]},
    "causes": [],
}


def _side(p50_ms: float, low: float, high: float) -> dict[str, Any]:
    tables = {
        "p50_ms": {"0.05": low, "0.95": high},
        "p90_ms": {"0.05": 0.68, "0.95": 0.73},
    }
    return _SIDE | {"p50_ms": p50_ms, "quantiles": tables}


def _ratio(median: float, low: float, high: float) -> dict[str, Any]:
    return {
        "median": median,
        "interval": [0.9 * median, 1.1 * median],
        "confidence": 0.95,
        "pairs": 400,
        "quantiles": {"0.05": low, "0.95": high},
    }


def _network(hits: int) -> dict[str, Any]:
    return {
        "top1": round(hits / 540, 2),
        "hits": hits,
        "n": 540,
        "top5": 1.0,
        "top5_hits": 540,
        "calibration": {
            "error": 0.02,
            "mean_confidence": 0.97,
            "n": 540,
            "bins": [
                {"n": 40, "confidence": 0.6, "accuracy": 0.7},
                {"n": 500, "confidence": 0.99, "accuracy": 0.98},
            ],
            "quantiles": {"0.05": 0.01, "0.95": 0.03},
        },
        "recall": [
            {"class": "a", "hits": hits - 300, "n": 240},
            {"class": "b", "hits": 300, "n": 300},
        ],
    }


def _pair(reference: str, before: str, lost: int, gained: int) -> dict[str, Any]:
    flips = {"lost": lost, "gained": gained, "n": 540}
    worst = [{"class": "a", "lost": lost, "gained": 0, "n": 240}] if lost else []
    return {
        "reference": reference,
        **flips,
        "top5_lost": 0,
        "top5_gained": 0,
        "step": {"reference": before, **flips, "changed": lost + gained, "worst": worst},
    }


_MEASURED: dict[str, Any] = {
    "schema": SCHEMA,
    "set": {"kind": "held-out", "n": 540, "id": "0" * 64, "classes": ["a", "b"]},
    "accuracy": {
        "teacher": _network(535),
        "student": _network(531),
        "onnx": _network(531),
        "engine": _network(531),
    },
    "agreement": {
        "student": {"value": 0.985, "hits": 532, "n": 540},
        "onnx": {"value": 0.985, "hits": 532, "n": 540},
        "engine": {"value": 0.985, "hits": 532, "n": 540},
    },
    "bank_agreement": {},
    "paired": {
        "student": _pair("teacher", "teacher", 5, 1),
        "onnx": _pair("student", "student", 0, 0),
        "engine": _pair("student", "onnx", 0, 0),
    },
    "latency": {
        "threads": 1,
        "device": "cpu",
        "processes": 1,
        "conditions": {"seconds": 2.0, "load_average": 0.5, "other_cores": 0.1, "cores": 2},
        "batches": [
            {
                "batch": 1,
                "teacher": _side(0.5, 0.49, 0.51),
                "teacher_engine": _side(0.2, 0.19, 0.21),
                "engine": _side(0.1, 0.09, 0.11),
                "speedup": _ratio(5.0, 4.6, 5.4),
                "speedup_same_backend": _ratio(2.0, 1.9, 2.1),
                "warmup": {"seconds": 0.5, "is_steady": True},
            }
        ],
    },
    "engine_bytes": 1000,
    "memory": {"engine_resident_bytes": 5000, "process_peak_bytes": 10_000},
    "engine": {"backend": "onnxruntime", "precision": "fp32"},
}


@pytest.fixture
def measured() -> dict[str, Any]:
    """What a validate stage measured, with every default gate passed; change it as needed."""
    return copy.deepcopy(_MEASURED)


_PROJECT_CODE = """
import shutil
from pathlib import Path

def distill(ctx):
    ctx.output("picture").write_bytes(b"not really a picture")
    ctx.output("student").write_text(str(ctx.settings.seed))
    ctx.metric("params", 77850)

def validate(ctx):
    ctx.progress(1, 2, "batch sizes")
    shutil.copyfile(ctx.external("measured"), ctx.output("measurements"))
    ctx.metric("student_top1", 0.98)
"""


def _declare(_settings: Settings, root: Path) -> tuple[Stage, ...]:
    measured = External(path=root / "measured.json", needed_by="data.root")
    return (
        Stage(
            name="distill",
            run="fakestages:distill",
            settings=("seed",),
            outputs={"student": "student.bin", "picture": "samples.png"},
        ),
        Stage(
            name="validate",
            run="fakestages:validate",
            settings=("data.source",),
            inputs=("distill/student",),
            externals={"measured": measured},
            outputs={"measurements": "measurements.json"},
        ),
    )


@pytest.fixture
def project(
    tmp_path: Path,
    code: Callable[..., None],
    measured: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Project]:
    """Open a project of two fake stages, distill and validate, in the folder of the test.

    `project("seed=1", measured=...)` changes settings and what validate measures.
    """
    monkeypatch.delenv("MADPIPE_HOME", raising=False)
    code(_PROJECT_CODE)
    default = measured
    config = tmp_path / "pipeline.toml"
    config.write_text("", encoding="utf-8")

    def make(*overrides: str, measured: dict[str, Any] | None = None) -> Project:
        text = json.dumps(measured or default)
        (tmp_path / "measured.json").write_text(text, encoding="utf-8")
        return Project.open(config, overrides, _declare)

    return make


@pytest.fixture
def madpipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Call the command in the folder of the test; returns exit code, output and errors."""
    from pipeline.cli.main import main

    monkeypatch.delenv("MADPIPE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        assert isinstance(left.value.code, int)
        return left.value.code, *capsys.readouterr()

    return call

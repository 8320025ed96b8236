"""`precision = "auto"`: candidates built, compared and measured, and the fastest chosen."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import machine
from pipeline.errors import StageError
from pipeline.gates.build_records import Candidates
from pipeline.settings import Build
from stages import standalone
from stages.build import autotune
from stages.build import stage as build_stage
from stages.build.autotune import AutotuneResult, sensitive_layers
from stages.engines import selection
from tests.stages.tiny import TinyRun


def _built(tiny: TinyRun, folder: Path, **options: Any) -> Candidates:
    _, built = build_stage.build(
        tiny.path("export/onnx"),
        folder / "engine.onnx",
        folder / "manifest.json",
        Build(device="cpu", **options),
        calibration_path=tiny.path("distill/bank"),
    )
    return built


def test_the_stage_stores_the_table_and_takes_the_fastest_that_is_admissible(
    tiny: TinyRun,
) -> None:
    table = json.loads(tiny.path("build/candidates").read_bytes())
    rows = table["candidates"]
    assert table["schema"] == "madpipe.candidates/1"
    expected = selection.candidates(tiny.settings.build, table["device"])
    assert [(r["backend"], r["precision"]) for r in rows][: len(expected)] == list(expected)
    (chosen,) = (r for r in rows if r["verdict"] == "chosen")
    admissible = [r for r in rows if r["verdict"] in ("chosen", "admissible")]
    assert chosen["p50_ms"] == min(r["p50_ms"] for r in admissible)
    assert all(r["disagreement"] <= table["max_disagreement"] for r in admissible)
    manifest = json.loads(tiny.path("build/manifest").read_bytes())
    assert (manifest["backend"], manifest["precision"]) == (
        chosen["backend"], chosen["precision"],
    )  # fmt: skip


def test_what_differs_too_much_is_missed_and_mixed_with_float_layers(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = autotune.logits
    calls = 0

    def logits(infer: Any, x_NCHW: Any, _on_progress: Any = None) -> Any:
        nonlocal calls
        calls += 1
        logits_NK = real(infer, x_NCHW)
        # After the reference and fp32 comes plain int8: here all of it is wrong.
        return np.roll(logits_NK, 1, axis=1) if calls == 3 else logits_NK

    monkeypatch.setattr(autotune, "logits", logits)
    built = _built(tiny, tmp_path, backend="onnxruntime", max_disagreement=0.5)
    fp32, int8, mixed = built.candidates
    assert fp32.verdict in ("chosen", "admissible")
    assert int8.verdict == "missed"
    assert "more than 0.5" in int8.reason
    assert mixed.precision == "int8"
    assert mixed.verdict in ("chosen", "admissible")
    assert mixed.float_layers == tuple(entry.layer for entry in built.costly_layers or ())
    assert len(mixed.float_layers) == 1


def test_without_bisection_nothing_is_mixed(tiny: TinyRun, tmp_path: Path) -> None:
    built = _built(tiny, tmp_path, backend="onnxruntime", max_disagreement=0.0, bisect_layers=0)
    assert len(built.candidates) == 2
    assert built.costly_layers == ()


def test_where_none_is_admissible_the_message_has_the_reason_of_every_candidate(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = autotune.logits, 0

    def logits(infer: Any, x_NCHW: Any, _on_progress: Any = None) -> Any:
        nonlocal calls
        calls += 1
        return np.roll(real(infer, x_NCHW), calls > 1, axis=1)

    monkeypatch.setattr(autotune, "logits", logits)
    message = r"no candidate is admissible \(onnxruntime fp32: 1\.0000 of 32 .*onnxruntime int8: "
    with pytest.raises(StageError, match=message):
        _built(tiny, tmp_path, backend="onnxruntime")


def test_a_file_with_images_is_built_by_measuring_too(tiny: TinyRun, tmp_path: Path) -> None:
    done: dict[str, list[int]] = {}
    manifest = standalone.build(
        tiny.path("export/onnx"),
        tmp_path,
        Build(device="cpu"),
        tiny.path("distill/bank"),
        on_progress=lambda count, _, unit: done.setdefault(unit, []).append(count),
    )
    table = json.loads((tmp_path / "candidates.json").read_bytes())
    (chosen,) = (r for r in table["candidates"] if r["verdict"] == "chosen")
    assert chosen["precision"] == manifest.precision
    assert set(done) >= {"candidates", "images compared", "images calibrated"}
    # The reference and each candidate.
    assert done["images compared"].count(32) == 1 + len(table["candidates"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["candidates.json", "manifest.json", manifest.engine]
    )


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
def test_where_no_candidate_runs_on_the_gpu_those_of_the_cpu_are_tried(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: (machine.Gpu("Some GPU", "8.9", "580.1"),))
    manifest, built = build_stage.build(
        tiny.path("export/onnx"),
        tmp_path / "engine.onnx",
        tmp_path / "manifest.json",
        Build(backend="onnxruntime"),
        calibration_path=tiny.path("distill/bank"),
    )
    assert manifest.device == built.device == "cpu"
    verdicts = [candidate.verdict for candidate in built.candidates]
    assert verdicts[:2] == ["unavailable", "unavailable"]
    assert "chosen" in verdicts[2:]


def test_a_candidate_that_was_never_built_has_no_figures(tmp_path: Path) -> None:
    result = AutotuneResult(backend="b", precision="fp32", device="cpu", engine=tmp_path / "none")
    record = result.record()
    assert (record.verdict, record.bytes, record.p50_ms) == ("unavailable", None, None)


LAYERS = [f"layer{n}" for n in range(16)]


@pytest.mark.parametrize("culprits", [("layer0",), ("layer13",), ("layer3", "layer12")])
def test_sensitive_layers_are_found_in_few_trials(culprits: tuple[str, ...]) -> None:
    trials = 0

    def disagreement(in_float: frozenset[str]) -> float:
        nonlocal trials
        trials += 1
        return 0.1 * len(set(culprits) - in_float) + 0.001

    sensitive = sensitive_layers(LAYERS, disagreement, limit=0.01, max_layers=4)
    assert {entry.layer for entry in sensitive} == set(culprits)
    assert sensitive[-1].disagreement == pytest.approx(0.001)
    assert trials <= 9 * len(culprits)


def test_it_ends_at_the_most_that_is_allowed_even_where_nothing_helps() -> None:
    sensitive = sensitive_layers(LAYERS, lambda in_float: 0.5, limit=0.01, max_layers=3)  # noqa: ARG005
    assert len({entry.layer for entry in sensitive}) == 3


def test_the_worse_of_two_comes_first() -> None:
    cost = {"layer2": 0.3, "layer9": 0.1}

    def disagreement(in_float: frozenset[str]) -> float:
        return sum(share for name, share in cost.items() if name not in in_float)

    sensitive = sensitive_layers(LAYERS, disagreement, limit=0.0, max_layers=2)
    assert [entry.layer for entry in sensitive] == ["layer2", "layer9"]

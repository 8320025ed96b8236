"""int8 weights that are trained: by which images, resumed, chosen, refused and recorded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, helper

from models.multi_scale import build_generator
from pipeline import machine
from pipeline.errors import Interrupted
from pipeline.gates.build_records import Candidates, EngineManifest
from pipeline.settings import Build
from stages import generators
from stages.build import autotune
from stages.build import stage as build_stage
from stages.build.int8_training import Int8Trainer, of_images
from stages.catalog import declare
from stages.engines import selection
from stages.engines.base import BACKENDS, no_progress
from stages.networks import weights
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.convert import PrecisionConverter
from stages.training import memory
from tests.stages.onnxgraph import graphs
from tests.stages.tiny import context, settings

pytestmark = pytest.mark.usefixtures("one_thread")
NAMED = Build(backend="onnxruntime", device="cpu", precision="int8")
MEASURED = Build(backend="onnxruntime", device="cpu")


def _options(options: Build, **changes: Any) -> Build:
    fields = {name: getattr(options, name) for name in Build.__struct_fields__}
    return Build(**fields | {"int8_steps": 5, "int8_learning_rate": 0.01} | changes)


def _built(
    folder: Path, options: Build, model: ModelProto | None = None, **more: Any
) -> tuple[EngineManifest, Candidates, bytes]:
    """Return the manifest, the candidates and the engine of a file from anywhere."""
    np.savez(folder / "bank.npz", x=graphs.random_images(64))
    onnx_io.save(model or graphs.classifier(), folder / "m.onnx")
    engine = folder / "engine.onnx"
    manifest, built = build_stage.build(
        folder / "m.onnx",
        engine,
        folder / "manifest.json",
        options,
        calibration_path=folder / "bank.npz",
        **more,
    )
    return manifest, built, engine.read_bytes()


def test_weights_are_trained_where_they_are_to_be_and_the_records_say_so(tmp_path: Path) -> None:
    rounded, _, as_rounded = _built(tmp_path, _options(NAMED, int8="rounded"))
    # Of a file from anywhere auto rounds, even where that disagrees.
    auto, _, as_auto = _built(tmp_path, _options(NAMED, max_disagreement=0.0))
    trained, built, as_trained = _built(tmp_path, _options(NAMED, int8="trained"))
    assert [rounded.is_trained, auto.is_trained, trained.is_trained] == [False, False, True]
    assert [candidate.is_trained for candidate in built.candidates] == [True]
    assert as_rounded == as_auto != as_trained


@pytest.mark.skipif(not machine.has_module("openvino"), reason="openvino is absent")
def test_weights_of_4_bits_are_trained_as_well(tmp_path: Path) -> None:
    options = _options(NAMED, backend="openvino", precision="int4")
    notes: list[str] = []
    strict = _options(options, max_disagreement=-1.0)
    rounded, _, as_rounded = _built(tmp_path, strict, on_note=notes.append)
    assert "of 64 calibration images" in notes[-1]
    assert "build.int8=" in notes[-1]
    trained, _, as_trained = _built(tmp_path, _options(options, int8="trained"))
    assert [rounded.is_trained, trained.is_trained] == [False, True]
    assert as_rounded != as_trained


def _no_training(_quantized: ModelProto, _source: ModelProto) -> ModelProto:
    raise AssertionError


def test_memory_that_a_step_will_not_find_is_told_before_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notes: list[str] = []
    options = _options(NAMED, int8="trained", int8_batch_size=64)
    _built(tmp_path, options, on_note=notes.append)
    assert not any("GiB" in note for note in notes)
    present_bytes = machine.peak_memory_bytes() or 0
    monkeypatch.setattr(memory, "available_bytes", lambda _: present_bytes + 10)
    _built(tmp_path, options, on_note=notes.append)
    (warning,) = (note for note in notes if "GiB" in note)
    assert warning.startswith("warning: a step of int8 training of 64 images takes about ")
    assert warning.endswith("are enough with smaller images or networks")


def test_what_rounding_leaves_as_it_is_is_not_trained(tmp_path: Path) -> None:
    for options in (NAMED, MEASURED):
        lenient = _options(options, max_disagreement=1.0)
        manifest, _, _ = _built(tmp_path, lenient, train=_no_training)
        assert not manifest.is_trained


def test_the_better_of_both_is_taken_where_int8_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = autotune.logits
    calls, wrong = 0, 0

    def logits(infer: Any, x_NCHW: Any, *_: Any) -> Any:
        nonlocal calls
        calls += 1
        logits_NK = real(infer, x_NCHW)
        # The reference is run first and the engine second, twice over.
        return np.roll(logits_NK, 1, axis=1) if calls == wrong else logits_NK

    monkeypatch.setattr(build_stage, "logits", logits)
    train = of_images(graphs.random_images(64), _options(NAMED), no_progress, print)
    for number, is_trained in ((2, True), (4, False)):
        calls, wrong = 0, number
        options = _options(NAMED, max_disagreement=-1.0)
        manifest, _, _ = _built(tmp_path, options, train=train)
        assert manifest.is_trained == is_trained


@pytest.fixture
def _rounding_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all logits of the rounded int8 engine be wrong, which come third after fp32's two."""
    real, calls = autotune.logits, 0

    def logits(infer: Any, x_NCHW: Any, *_: Any) -> Any:
        nonlocal calls
        calls += 1
        return np.roll(real(infer, x_NCHW), 1 if calls == 3 else 0, axis=1)

    monkeypatch.setattr(autotune, "logits", logits)


@pytest.mark.usefixtures("_rounding_is_wrong")
def test_auto_trains_what_rounding_changes_too_much_and_mixes_nothing_then(tmp_path: Path) -> None:
    options = _options(MEASURED, max_disagreement=0.5)
    train = of_images(graphs.random_images(64), options, no_progress, print)
    _, built, _ = _built(tmp_path, options, train=train)
    fp32, rounded, trained = built.candidates
    assert (fp32.precision, rounded.precision, trained.precision) == ("fp32", "int8", "int8")
    assert rounded.verdict == "missed"
    assert trained.verdict in ("chosen", "admissible")
    assert [rounded.is_trained, trained.is_trained] == [False, True]


@pytest.mark.usefixtures("_rounding_is_wrong")
def test_auto_has_no_second_candidate_of_what_cannot_be_trained(tmp_path: Path) -> None:
    options = _options(MEASURED, max_disagreement=0.5, bisect_layers=0)
    _, built, _ = _built(tmp_path, options, train=lambda *_: None)
    assert [candidate.precision for candidate in built.candidates] == ["fp32", "int8"]
    assert [candidate.verdict for candidate in built.candidates] == ["chosen", "missed"]


def test_a_graph_that_torch_cannot_run_is_rounded_with_a_note(tmp_path: Path) -> None:
    nodes = graphs.layers()
    nodes[1] = helper.make_node("Sinh", ["c"], ["r"], name="sinh")
    notes: list[str] = []
    options = _options(NAMED, int8="trained")
    model = graphs.classifier(nodes, opset=20, ir_version=9)
    manifest, _, _ = _built(tmp_path, options, model, on_note=notes.append)
    assert not manifest.is_trained
    (note,) = (note for note in notes if "not trained" in note)
    assert "Sinh (sinh)" in note


def _trainer(steps: int = 6) -> Int8Trainer:
    options = _options(NAMED, int8_batch_size=16, int8_steps=steps)
    return of_images(graphs.random_images(64), options, no_progress, print)


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    converter = PrecisionConverter(graphs.classifier(), graphs.random_images(64), NAMED)
    graph = converter.convert("int8", BACKENDS["onnxruntime"]).model
    other = converter.convert("int8", BACKENDS["tensorrt"]).model
    whole = _trainer()
    expected = [whole(part, converter.model) for part in (graph, other)]
    checkpoint, saves = tmp_path / "state", 0

    def keep(save: Callable[[Path], None]) -> None:
        nonlocal saves
        saves += 1
        if saves == 9:  # in the middle of the second graph
            save(checkpoint)
            raise Interrupted("here", "interrupted", "go on")

    first = _trainer()
    first.resume(None, keep)
    assert first(graph, converter.model) == expected[0]
    with pytest.raises(Interrupted):
        first(other, converter.model)
    steps: list[int] = []
    second = _trainer()
    second.resume(checkpoint, lambda _: steps.append(1))
    assert [second(part, converter.model) for part in (graph, other)] == expected
    assert len(steps) == 3


@pytest.mark.parametrize(("kind", "scales"), [("uncond", "one"), ("sum", "one"), ("uncond", "sum")])
def test_images_of_a_run_come_from_both_generators(tmp_path: Path, kind: str, scales: str) -> None:
    from stages.build.int8_training import _Generated

    size: dict[str, Any] = {"noise_dim": 4, "image_size_px": 8, "channels": 1, "width": 4}
    size |= {"kind": kind, "scales": scales, "num_classes": 3 if kind == "sum" else 0}
    paths = [tmp_path / "g.safetensors", tmp_path / "e.safetensors"]
    for path in paths:
        generator = build_generator(**size)
        weights.save(path, generator, generator.metadata())
    loaded = [generators.load(path, "g").train() for path in paths]
    generated = _Generated(loaded, 16, torch.device("cpu"))
    x_BCHW = generated(torch.Generator().manual_seed(0))
    assert x_BCHW.shape == (16, 1, 8, 8)
    assert not x_BCHW[:8].equal(x_BCHW[8:])
    assert x_BCHW.equal(generated(torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(("ema_batch_norm", "mode"), [("batch", True), ("averaged", False)])
def test_generators_normalise_as_they_did_for_the_student(
    ema_batch_norm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, mode: bool
) -> None:
    from stages.build import int8_training

    modes: list[bool] = []
    monkeypatch.setattr(
        int8_training,
        "_Generated",
        lambda networks, *_: modes.extend(one.training for one in networks),
    )
    chosen = settings({"distill": {"ema_batch_norm": ema_batch_norm}, "build": {"int8": "trained"}})
    (stage,) = [one for one in declare(chosen, tmp_path) if one.name == "build"]
    generator = build_generator(noise_dim=4, image_size_px=8, channels=1, width=4)
    weights.save(tmp_path / "g.safetensors", generator, generator.metadata())
    inputs = dict.fromkeys(stage.inputs, tmp_path / "g.safetensors")
    ctx, _ = context(stage, chosen, inputs, tmp_path)
    int8_training.of_run(ctx)
    assert modes == [True, mode]


@pytest.mark.parametrize(
    ("options", "may_train"),
    [
        (Build(), True),
        (Build(precision="int8"), True),
        (Build(precision="int4"), True),
        (Build(precision="int8", int8="rounded"), False),
        (Build(precision="fp32"), False),
        (Build(backend="tensorrt-rtx", targets=("sm89",)), False),
    ],
)
def test_what_is_never_int8_is_never_trained(options: Build, *, may_train: bool) -> None:
    assert selection.may_train_int8(options) == may_train

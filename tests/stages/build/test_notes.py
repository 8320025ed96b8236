"""What build says of an engine: its agreement, what auto did not take, and plans that are large."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnxruntime import quantization

from pipeline.errors import StageError
from pipeline.gates.build_records import Candidate, Candidates
from pipeline.settings import Build
from stages import standalone
from stages.build import notes
from stages.build.autotune import AutotuneResult
from stages.onnxgraph import calibrate
from tests.stages.onnxgraph.graphs import CLASSES, classifier, layers, random_images, saved, weights

CPU: dict[str, Any] = {"backend": "onnxruntime", "device": "cpu"}


def _bank(path: Path, *, is_constant: bool = False) -> Path:
    x_NHWC = (random_images(32) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    np.savez(path, x=np.full_like(x_NHWC, 7) if is_constant else x_NHWC)
    return path


def _notes(model: ModelProto, folder: Path, bank: Path, **options: Any) -> list[str]:
    lines: list[str] = []
    path = saved(model, folder / "m.onnx")
    standalone.build(path, folder / "engine", Build(**CPU | options), bank, on_note=lines.append)
    assert "does not say what range" in lines.pop(0)  # as of every file of another program
    return lines


@pytest.mark.parametrize("opset", [9, 12, 17])
def test_int8_says_its_agreement_from_any_opset(tmp_path: Path, opset: int) -> None:
    (line,) = _notes(classifier(opset=opset), tmp_path, _bank(tmp_path / "b.npz"), precision="int8")
    assert line.startswith("onnxruntime int8 gives the class of the ONNX file to ")
    assert "of 32 calibration images; logits differ by up to 0.0" in line


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_images_that_are_all_the_same_are_built_from_and_warned_of(
    tmp_path: Path, method: str
) -> None:
    bank = _bank(tmp_path / "b.npz", is_constant=True)
    same, agrees = _notes(classifier(), tmp_path, bank, precision="int8", calibration_method=method)
    assert same.startswith("warning: --calibration: all 32 images are the same")
    assert agrees.endswith("All of them get one class, so this says little")


def test_ranges_that_cannot_be_had_are_an_error_of_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("Too many bins for data range.")

    monkeypatch.setattr(quantization, "create_calibrator", refuse)
    with pytest.raises(StageError, match=r"percentile finds no ranges .*Too many bins.*minmax"):
        _notes(classifier(), tmp_path, _bank(tmp_path / "b.npz"), precision="int8")


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self._batches = iter([{"images": random_images(8)}])

    def get_next(self) -> Any:
        return next(self._batches, None)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_a_quantized_graph_is_kept_as_int8_and_nothing_else(tmp_path: Path, form: str) -> None:
    source = saved(classifier(), tmp_path / "float.onnx")
    quantized = tmp_path / "m.onnx"
    with calibrate.quiet():
        quantization.quantize_static(
            source, quantized, _Reader(), quant_format=quantization.QuantFormat[form]
        )
    lines: list[str] = []
    manifest = standalone.build(quantized, tmp_path / "e", Build(**CPU), on_note=lines.append)
    assert manifest.precision == "int8"
    assert "does not say what range" in lines.pop()
    assert lines == [f"{quantized}: it is quantized already, and is built as it is, as int8"]
    with pytest.raises(StageError, match=r"quantized already, so it is int8 \(not fp32\)"):
        standalone.build(quantized, tmp_path / "f", Build(**CPU, precision="fp32"))
    measured = standalone.build(quantized, tmp_path / "g", Build(**CPU), _bank(tmp_path / "b.npz"))
    assert measured.precision == "int8"


def test_what_changed_in_the_file_is_said_and_kept_in_the_manifest(tmp_path: Path) -> None:
    nodes = [helper.make_node("Transpose", ["images"], ["x"], perm=[0, 3, 1, 2]), *layers("x")]
    stored = {name: array.astype(np.float16) for name, array in weights().items()}
    outputs = [("logits", TensorProto.FLOAT16, (1, CLASSES))]
    model = classifier(
        nodes, images=(1, 8, 8, 3), stored=stored, kind=TensorProto.FLOAT16, outputs=outputs
    )
    lines: list[str] = []
    path = saved(model, tmp_path / "m.onnx")
    manifest = standalone.build(path, tmp_path / "e", Build(**CPU), on_note=lines.append)
    assert "does not say what range" in lines.pop()
    assert [f"{path}: {change}" for change in manifest.onnx_changes] == lines
    assert [word for word in ("FLOAT16", "NHWC", "batch") if word in " ".join(lines)] == [
        "FLOAT16", "NHWC", "batch",
    ]  # fmt: skip


def _candidate(precision: str, verdict: Any, disagreement: float, p50_ms: float) -> Candidate:
    return Candidate(
        backend="openvino", precision=precision, float_layers=(), disagreement=disagreement,
        p50_ms=p50_ms, bytes=1, build_s=1.0, verdict=verdict, reason="because",
    )  # fmt: skip


def _lines(result: AutotuneResult, candidates: Candidates, model: ModelProto) -> list[str]:
    lines: list[str] = []
    notes.of_engine(result, candidates, model, lines.append)
    return lines


def _result(folder: Path, precision: str, **figures: Any) -> AutotuneResult:
    return AutotuneResult(
        backend="openvino", precision=precision, device="cpu", engine=folder / "none", **figures
    )


def test_auto_says_by_how_much_the_others_missed(tmp_path: Path) -> None:
    tried = (_candidate("fp32", "chosen", 0.0, 2.0), _candidate("int8", "missed", 0.315, 1.0))
    candidates = Candidates(max_disagreement=0.01, images=200, candidates=tried, device="cpu")
    assert _lines(_result(tmp_path, "fp32"), candidates, classifier()) == [
        (
            "auto took openvino fp32 (2 ms); openvino int8 missed: 0.3150 of 200 images get "
            "another class, at most 0.01 may"
        )
    ]


@pytest.mark.parametrize(
    ("precision", "figures", "start"),
    [
        ("int8", {"disagreement": 0.2, "logit_difference": 0.3}, "warning: openvino int8 gives"),
        ("int8", {"disagreement": 0.0, "logit_difference": 0.01}, "openvino int8 gives"),
        ("fp32", {"logit_difference": 0.1}, "warning: openvino fp32 differs"),
        ("fp32", {"logit_difference": 0.001}, None),
    ],
)
def test_a_named_engine_beyond_its_bound_is_warned_of(
    tmp_path: Path, precision: str, figures: dict[str, float], start: str | None
) -> None:
    candidates = Candidates(max_disagreement=0.01, images=200, candidates=())
    lines = _lines(_result(tmp_path, precision, **figures), candidates, classifier())
    assert len(lines) == (start is not None)
    assert start is None or lines[0].startswith(start)


def test_layers_that_were_equalised_are_said(tmp_path: Path) -> None:
    result = _result(tmp_path, "int8", disagreement=0.0, logit_difference=0.01, equalised_pairs=2)
    candidates = Candidates(max_disagreement=0.01, images=200, candidates=())
    line = _lines(result, candidates, classifier())[1]
    assert line.startswith("channels between 2 pairs of layers had ranges far apart")
    assert "build.equalise = false" in line


def test_weights_of_seven_bits_are_said(tmp_path: Path) -> None:
    result = _result(tmp_path, "int8", disagreement=0.0, logit_difference=0.01, reduced_layers=3)
    candidates = Candidates(max_disagreement=0.01, images=200, candidates=())
    line = _lines(result, candidates, classifier())[1]
    assert line.startswith("3 layers have int8 weights of 7 bits")
    assert line.endswith("without VNNI")
    result.full_range_layers = 2
    line = _lines(result, candidates, classifier())[1]
    assert line.endswith("; 2 depthwise layers keep 8, where none do")
    arithmetic = result.record().arithmetic
    assert arithmetic == "int8, weights of 7 bits, 2 depthwise 8"


@pytest.mark.parametrize(("size", "count"), [(1_500_000, 1), (900_000, 0)])
def test_an_int8_plan_larger_than_its_weights_in_fp16_is_worth_a_line(
    tmp_path: Path, size: int, count: int
) -> None:
    (tmp_path / "plan").write_bytes(bytes(size))
    result = AutotuneResult(
        backend="tensorrt-rtx", precision="int8", device="cuda", engine=tmp_path / "plan"
    )
    candidates = Candidates(max_disagreement=0.01, images=0, candidates=())
    assert len(_lines(result, candidates, classifier())) == count

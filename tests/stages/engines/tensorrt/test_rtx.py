"""Real engines, made by TensorRT-RTX for GPUs that are not here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace as replace_options
from onnx import TensorProto, helper

from pipeline.errors import Interrupted, StageError
from stages import standalone
from stages.engines.base import BACKENDS, BuildRequest
from stages.engines.tensorrt import rtx
from stages.onnxgraph import io as onnx_io
from tests.stages.engines.tensorrt.conftest import NewRequest
from tests.stages.onnxgraph.graphs import classifier


def _size(request: BuildRequest) -> int:
    rtx.build(request)
    return request.engine.stat().st_size


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_is_built_for_two_architectures_at_once(
    new_request: NewRequest, precision: str
) -> None:
    request = new_request(precision, ("sm89", "sm120"))
    built = rtx.build(request)
    assert request.engine.stat().st_size > 100_000
    assert built["targets"] == ("sm89", "sm120")
    assert (built["gpu"], built["layers"]) == ("", "")
    assert built["settings"]["max_batch"] == 256


@pytest.mark.parametrize("target", BACKENDS["tensorrt-rtx"].architectures)
def test_every_architecture_of_the_table_is_built_for(new_request: NewRequest, target: str) -> None:
    # Turing multiplies matrices in half precision only.
    assert _size(new_request("fp16" if target == "sm75" else "fp32", (target,))) > 100_000


def test_what_an_architecture_cannot_do_is_refused_with_the_builders_message(
    new_request: NewRequest,
) -> None:
    with pytest.raises(StageError, match=r"^build: TensorRT-RTX cannot build .*Turing \(SM75\)"):
        rtx.build(new_request(targets=("sm75",)))


def test_the_table_has_the_architectures_that_the_bindings_have(new_request: NewRequest) -> None:
    new_request()
    import tensorrt_rtx

    known = {name.lower() for name in tensorrt_rtx.ComputeCapability.__members__}
    assert known - {"none", "current"} == set(BACKENDS["tensorrt-rtx"].architectures)


def test_half_the_bytes_show_that_fp16_reached_the_engine(new_request: NewRequest) -> None:
    fp32, fp16, int8 = (_size(new_request(name)) for name in ("fp32", "fp16", "int8"))
    assert 0.45 < fp16 / fp32 < 0.58
    assert 0.25 < int8 / fp32 < 0.52
    assert int8 < fp16


def test_the_same_graph_gives_the_same_bytes(new_request: NewRequest) -> None:
    request = new_request()
    contents = set()
    for _ in range(3):
        rtx.build(request)
        contents.add(request.engine.read_bytes())
    # About once in a hundred builds it writes a byte more.
    assert len(contents) < 3


def test_the_settings_reach_the_builder(new_request: NewRequest) -> None:
    plain = new_request()
    rtx.build(plain)
    before = plain.engine.read_bytes()
    for change in ({"max_batch": 512}, {"tf32": False}):
        request = new_request(**change)
        rtx.build(request)
        assert request.engine.read_bytes() != before


@pytest.mark.parametrize(
    "change", [{"optimization_level": 0}, {"workspace_mib": 64}, {"min_batch": 2}]
)
def test_the_other_settings_are_taken(new_request: NewRequest, change: dict[str, int]) -> None:
    assert _size(new_request(**change)) > 100_000


def test_a_build_reports_progress_that_never_goes_back(new_request: NewRequest) -> None:
    reports: list[tuple[int, int, str]] = []
    rtx.build(replace(new_request(), on_progress=lambda *report: reports.append(report)))
    percents = [done for done, _, _ in reports]
    assert percents == sorted(set(percents))
    assert len(percents) > 5
    assert {(total, unit) for _, total, unit in reports} == {(100, "percent")}


def test_a_stop_in_the_middle_ends_the_build_and_leaves_nothing(new_request: NewRequest) -> None:
    def stop(done: int, total: int, unit: str) -> None:
        del done, total, unit
        raise Interrupted("build", "interrupted", "again")

    request = new_request()
    with pytest.raises(Interrupted):
        rtx.build(replace(request, on_progress=stop))
    assert not request.engine.exists()


def test_weights_of_4_bits_stay_so_in_the_plan(new_request: NewRequest, tmp_path: Path) -> None:
    w_OIHW = np.random.default_rng(0).normal(0, 0.02, (512, 512, 3, 3)).astype(np.float32)
    stored = {"w0": w_OIHW[:, :3], "w1": w_OIHW}
    nodes = [
        helper.make_node("Conv", ["images", "w0"], ["a"], name="first"),
        helper.make_node("Conv", ["a", "w1"], ["b"], name="second"),
        helper.make_node("GlobalAveragePool", ["b"], ["c"], name="pool"),
        helper.make_node("Flatten", ["c"], ["logits"], name="flat", axis=1),
    ]
    model = classifier(nodes, outputs=[("logits", TensorProto.FLOAT, ("N", 512))], stored=stored)
    onnx_io.save(model, tmp_path / "m.onnx")
    lines: list[str] = []
    options = replace_options(new_request(targets=("sm89",)).options, precision="int4")
    manifest = standalone.build(tmp_path / "m.onnx", tmp_path, options, on_note=lines.append)
    assert manifest.weights_bytes["INT4"] == w_OIHW.size / 2
    plan_bytes = (tmp_path / manifest.engine).stat().st_size
    assert w_OIHW.size / 2 < plan_bytes < w_OIHW.size  # in 8 bits it were larger


@pytest.mark.parametrize("precision", ["fp16", "int8", "bf16", "fp8", "int4"])
def test_a_graph_of_another_precision_is_refused(
    new_request: NewRequest, onnx_files: dict[str, Path], precision: str
) -> None:
    request = new_request(precision, onnx=onnx_files["fp32"])
    with pytest.raises(StageError, match=rf"the graph is not {precision}.*FLOAT \d+ B"):
        rtx.build(request)
    assert not request.engine.exists()


def _graph(path: Path, *nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT) -> Path:
    ends = [helper.make_tensor_value_info(name, kind, ["batch", 1, 8, 8]) for name in "xy"]
    weights = helper.make_tensor("w", kind, [1], [2.0])
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weights])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("nowhere", 1)]
    onnx_io.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_an_operator_that_the_parser_does_not_know_is_named_with_its_node(
    new_request: NewRequest, tmp_path: Path
) -> None:
    nonsense = helper.make_node("Nonsense", ["x", "w"], ["y"], name="odd_one", domain="nowhere")
    request = new_request(onnx=_graph(tmp_path / "m.onnx", nonsense))
    with pytest.raises(StageError, match=r"^the ONNX file: .*Nonsense at node odd_one: .*; ") as e:
        rtx.build(request)
    assert "\n" not in str(e.value)


def test_a_graph_of_doubles_is_refused_by_its_type(new_request: NewRequest, tmp_path: Path) -> None:
    scale = helper.make_node("Mul", ["x", "w"], ["y"])
    request = new_request(onnx=_graph(tmp_path / "m.onnx", scale, kind=TensorProto.DOUBLE))
    with pytest.raises(StageError, match="DOUBLE"):
        rtx.build(request)


def test_an_unsigned_int8_graph_is_refused_with_the_parsers_words(
    new_request: NewRequest, onnx_files: dict[str, Path], tmp_path: Path
) -> None:
    model = onnx.load(str(onnx_files["int8"]))
    points = {n.input[2] for n in model.graph.node if n.op_type.endswith("QuantizeLinear")}
    point = next(t for t in model.graph.initializer if t.name in points)
    point.CopyFrom(helper.make_tensor(point.name, TensorProto.INT8, point.dims, b"\x07", raw=True))
    onnx_io.save(model, tmp_path / "m.onnx")
    with pytest.raises(StageError, match=r"TensorRT-RTX .*[zZ]ero"):
        rtx.build(new_request("int8", onnx=tmp_path / "m.onnx"))

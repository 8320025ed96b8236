"""Real engines, made by TensorRT-RTX for GPUs that are not here."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from pipeline.errors import Interrupted, StageError
from stages.engines.base import BACKENDS, Order
from stages.engines.tensorrt import rtx
from stages.onnxgraph import io as onnx_io
from tests.stages.engines.tensorrt.conftest import MakeOrder


def _size(order: Order) -> int:
    rtx.build(order)
    return order.engine.stat().st_size


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_is_built_for_two_architectures_at_once(order: MakeOrder, precision: str) -> None:
    asked = order(precision, ("sm89", "sm120"))
    told = rtx.build(asked)
    assert asked.engine.stat().st_size > 100_000
    assert told["targets"] == ("sm89", "sm120")
    assert (told["gpu"], told["layers"]) == ("", "")
    assert told["settings"]["max_batch"] == 256


@pytest.mark.parametrize("target", BACKENDS["tensorrt-rtx"].architectures)
def test_every_architecture_of_the_table_is_built_for(order: MakeOrder, target: str) -> None:
    # Turing multiplies matrices in half precision only.
    assert _size(order("fp16" if target == "sm75" else "fp32", (target,))) > 100_000


def test_what_an_architecture_cannot_do_is_said_in_the_builders_words(order: MakeOrder) -> None:
    with pytest.raises(StageError, match=r"^build: TensorRT-RTX cannot build .*Turing \(SM75\)"):
        rtx.build(order(targets=("sm75",)))


def test_the_table_has_the_architectures_that_the_bindings_have(order: MakeOrder) -> None:
    order()
    import tensorrt_rtx

    known = {each.lower() for each in tensorrt_rtx.ComputeCapability.__members__}
    assert known - {"none", "current"} == set(BACKENDS["tensorrt-rtx"].architectures)


def test_half_the_bytes_show_that_fp16_reached_the_engine(order: MakeOrder) -> None:
    fp32, fp16, int8 = (_size(order(each)) for each in ("fp32", "fp16", "int8"))
    assert 0.45 < fp16 / fp32 < 0.58
    assert 0.25 < int8 / fp32 < 0.52
    assert int8 < fp16


def test_the_same_graph_gives_the_same_bytes(order: MakeOrder) -> None:
    asked = order()
    rtx.build(asked)
    first = asked.engine.read_bytes()
    rtx.build(asked)
    assert asked.engine.read_bytes() == first


def test_the_settings_reach_the_builder(order: MakeOrder) -> None:
    plain = order()
    rtx.build(plain)
    before = plain.engine.read_bytes()
    for change in ({"max_batch": 512}, {"tf32": False}):
        asked = order(**change)
        rtx.build(asked)
        assert asked.engine.read_bytes() != before


@pytest.mark.parametrize(
    "change", [{"optimization_level": 0}, {"workspace_mib": 64}, {"min_batch": 2}]
)
def test_the_other_settings_are_taken(order: MakeOrder, change: dict[str, int]) -> None:
    assert _size(order(**change)) > 100_000


def test_a_build_tells_how_far_it_is_and_never_goes_back(order: MakeOrder) -> None:
    told: list[tuple[int, int, str]] = []
    rtx.build(replace(order(), tell=lambda *each: told.append(each)))
    percents = [done for done, _, _ in told]
    assert percents == sorted(set(percents))
    assert len(percents) > 5
    assert {(total, unit) for _, total, unit in told} == {(100, "percent")}


def test_a_stop_in_the_middle_ends_the_build_and_leaves_nothing(order: MakeOrder) -> None:
    def stop(done: int, total: int, unit: str) -> None:
        del done, total, unit
        raise Interrupted("build", "interrupted", "again")

    asked = order()
    with pytest.raises(Interrupted):
        rtx.build(replace(asked, tell=stop))
    assert not asked.engine.exists()


@pytest.mark.parametrize("precision", ["fp16", "int8", "bf16", "fp8"])
def test_a_graph_of_another_precision_is_refused(
    order: MakeOrder, made: dict[str, Path], precision: str
) -> None:
    asked = order(precision, onnx=made["fp32"])
    with pytest.raises(StageError, match=rf"the graph is not {precision}.*FLOAT \d+ B"):
        rtx.build(asked)
    assert not asked.engine.exists()


def _graph(path: Path, *nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT) -> Path:
    ends = [helper.make_tensor_value_info(name, kind, ["batch", 1, 8, 8]) for name in "xy"]
    weights = helper.make_tensor("w", kind, [1], [2.0])
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weights])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("nowhere", 1)]
    onnx_io.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_an_operator_that_the_parser_does_not_know_is_named_with_its_node(
    order: MakeOrder, tmp_path: Path
) -> None:
    nonsense = helper.make_node("Nonsense", ["x", "w"], ["y"], name="odd_one", domain="nowhere")
    asked = order(onnx=_graph(tmp_path / "m.onnx", nonsense))
    with pytest.raises(StageError, match=r"^the ONNX file: .*Nonsense at node odd_one: .*; ") as e:
        rtx.build(asked)
    assert "\n" not in str(e.value)


def test_a_graph_of_doubles_is_refused_by_its_type(order: MakeOrder, tmp_path: Path) -> None:
    scale = helper.make_node("Mul", ["x", "w"], ["y"])
    asked = order(onnx=_graph(tmp_path / "m.onnx", scale, kind=TensorProto.DOUBLE))
    with pytest.raises(StageError, match="DOUBLE"):
        rtx.build(asked)


def test_an_unsigned_int8_graph_is_refused_with_the_parsers_words(
    order: MakeOrder, made: dict[str, Path], tmp_path: Path
) -> None:
    model = onnx.load(str(made["int8"]))
    points = {n.input[2] for n in model.graph.node if n.op_type.endswith("QuantizeLinear")}
    point = next(each for each in model.graph.initializer if each.name in points)
    point.CopyFrom(helper.make_tensor(point.name, TensorProto.INT8, point.dims, b"\x07", raw=True))
    onnx_io.save(model, tmp_path / "m.onnx")
    with pytest.raises(StageError, match=r"TensorRT-RTX .*[zZ]ero"):
        rtx.build(order("int8", onnx=tmp_path / "m.onnx"))

"""Compiled models are seen before any runtime sees them, wherever they come from."""

from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto, TensorProto, helper

from pipeline.errors import StageError
from pipeline.settings import Build
from stages import standalone
from stages.engines import ep_context, ort
from stages.onnxgraph import io as onnx_io

PROVIDER = "TensorrtExecutionProvider"


def compiled(*, embed_mode: int = 1, held: bytes = b"native code", **changes: object) -> ModelProto:
    """Return a model of one EPContext node, as execution providers write them."""
    attributes: dict[str, Any] = {
        "embed_mode": embed_mode,
        "ep_cache_context": held,
        "source": PROVIDER,
        "ep_sdk_version": "10.13",
        "main_context": 1,
    }
    node = helper.make_node(
        "EPContext", ["images"], ["logits"], name="all", domain="com.microsoft",
        **attributes | changes,
    )  # fmt: skip
    ends = [
        helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 8, 8]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10]),
    ]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def test_a_compiled_model_says_who_compiled_it_and_with_what() -> None:
    (context,) = ep_context.check(compiled().SerializeToString(), PROVIDER)
    assert context == ep_context.Context("all", PROVIDER, "10.13", is_embedded=True, file="")


def test_one_in_an_inner_graph_is_found() -> None:
    inner = compiled()
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner.graph, else_branch=inner.graph)
    del inner.graph.node[:]
    inner.graph.node.append(branch)
    assert len(list(ep_context.contexts(inner))) == 2


@pytest.mark.parametrize(
    ("model", "provider", "wrong"),
    [
        (
            compiled(embed_mode=0, held=b"../../etc/passwd"),
            PROVIDER,
            r"names a file .*\.\./\.\./etc",
        ),
        (compiled(), None, rf"compiled, and its manifest does not say so \({PROVIDER}\)"),
        (compiled(), "CUDAExecutionProvider", "for another execution provider"),
        (ModelProto(), PROVIDER, "is not compiled, though its manifest says so"),
    ],
)
def test_an_engine_that_is_not_what_its_manifest_says_is_refused(
    model: ModelProto, provider: str | None, wrong: str
) -> None:
    with pytest.raises(StageError, match=f"^the engine: .*{wrong}"):
        ep_context.check(model.SerializeToString(), provider)


def test_a_second_attribute_of_the_name_hides_no_file() -> None:
    model = compiled(embed_mode=0, held=b"/etc/passwd")
    model.graph.node[0].attribute.append(helper.make_attribute("embed_mode", 1))
    with pytest.raises(StageError, match="names a file"):
        ep_context.check(model.SerializeToString(), PROVIDER)


def test_bytes_that_are_no_model_but_name_the_operator_are_refused() -> None:
    with pytest.raises(StageError, match="is no ONNX file"):
        ep_context.check(b"\xff\xffEPContext\xff", None)


def test_an_engine_for_the_cpu_that_was_compiled_is_not_loaded(tmp_path: Path) -> None:
    onnx_io.save(compiled(), tmp_path / "engine.onnx")
    with pytest.raises(StageError, match="its manifest does not say so"):
        ort.open(tmp_path / "engine.onnx", device="cpu", threads=1)
    with pytest.raises(StageError, match="cannot be read"):
        ort.open(tmp_path / "nothing.onnx", device="cpu", threads=1)


def test_a_compiled_file_is_no_input_of_a_build(tmp_path: Path) -> None:
    onnx_io.save(compiled(embed_mode=0, held=b"../engine.bin"), tmp_path / "m.onnx")
    with pytest.raises(StageError, match=r"^the ONNX file: is compiled already, by Tensorrt") as e:
        standalone.build(tmp_path / "m.onnx", tmp_path / "out", Build(device="cpu"))
    assert "in the file ../engine.bin" in str(e.value)
    assert "give the ONNX file that it was compiled from" in str(e.value)
    with pytest.raises(StageError, match="is compiled already"):
        onnx_io.read(tmp_path / "m.onnx", "--onnx")

"""Files of other exporters: brought to one form that computes the same, or refused with words."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pipeline.errors import MadpipeError, StageError, UsageError
from pipeline.settings import Build
from stages.build.examine import examine
from stages.engines.ort import OrtSession
from stages.onnxgraph import intake, rewrite
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.intake import Intake
from stages.onnxgraph.layers import layer_nodes
from tests.stages.onnxgraph.graphs import (
    CLASSES,
    classifier,
    layers,
    random_images,
    saved,
    weights,
)

X_NCHW = random_images()


def _logits(model: ModelProto) -> NDArray[np.float32]:
    return OrtSession(model.SerializeToString()).infer(X_NCHW)


def _read(model: ModelProto, folder: Path, options: Build | None = None, **saving: Any) -> Intake:
    options = options or Build()
    return examine(intake.read(saved(model, folder / "m.onnx", **saving), options), options)


@pytest.fixture(scope="module")
def plain_logits() -> NDArray[np.float32]:
    return _logits(classifier())


def test_a_file_in_the_right_form_is_left_as_it_is(tmp_path: Path) -> None:
    read = _read(classifier(), tmp_path)
    assert read == Intake(classifier(), (), is_quantized=False)


@pytest.mark.parametrize(
    ("model", "change"),
    [
        (classifier(lists_weights=True, ir_version=3, opset=9), None),
        (classifier(ir_version=3, opset=7), None),
        (classifier(images=(1, 3, 8, 8)), r"batch was fixed \(1 x 3 x 8 x 8\)"),
        (classifier(images=(-1, 3, 8, 8)), r"batch of -1 was taken as a dynamic one"),
        (classifier(outputs=[("logits", TensorProto.FLOAT, None)]), None),
        (
            classifier(
                [*layers(last="l"), helper.make_node("Reshape", ["l", "shape"], ["logits"])],
                images=(2, 3, 8, 8),
                outputs=[("logits", TensorProto.FLOAT, (2, CLASSES))],
                stored=weights() | {"shape": np.array([2, CLASSES])},
            ),
            "batch was fixed",
        ),
        (
            classifier(
                [*layers(last="l"), helper.make_node("Unsqueeze", ["l", "axes"], ["logits"])],
                outputs=[("logits", TensorProto.FLOAT, ("N", CLASSES, 1, 1))],
                stored=weights() | {"axes": np.array([2, 3])},
            ),
            r"output was flattened \(logits: FLOAT any x 5 x 1 x 1\)",
        ),
        (
            classifier(
                [helper.make_node("Transpose", ["images"], ["x"], perm=[0, 3, 1, 2]), *layers("x")],
                images=("N", 8, 8, 3),
            ),
            r"takes images as NHWC \(any x 8 x 8 x 3\)",
        ),
        (
            classifier(
                [
                    helper.make_node("Mul", ["images", "one"], ["m"]),
                    helper.make_node("Transpose", ["m"], ["x"], perm=[0, 3, 1, 2]),
                    *layers("x"),
                ],
                images=("N", 8, 8, 3),
                stored=weights() | {"one": np.ones(3, np.float32)},
            ),
            "takes images as NHWC",
        ),
    ],
    ids=[
        "weights as inputs", "old IR", "fixed batch", "batch -1", "no output shape",
        "fixed reshape", "4 dimensions", "NHWC", "NHWC behind a product",
    ],
)  # fmt: skip
def test_what_other_exporters_write_computes_the_same(
    tmp_path: Path, plain_logits: NDArray[np.float32], model: ModelProto, change: str | None
) -> None:
    read = _read(model, tmp_path)
    assert len(read.changes) == (change is not None)
    if change is not None:
        assert re.search(change, read.changes[0])
    np.testing.assert_allclose(_logits(read.model), plain_logits, atol=1e-5)
    signature = onnx_io.signature(read.model)
    assert (signature.shape, signature.num_classes) == ((3, 8, 8), CLASSES)


def test_an_output_that_is_listed_twice_is_one(
    tmp_path: Path, plain_logits: NDArray[np.float32]
) -> None:
    read = _read(classifier(outputs=[TWO[0], TWO[0]]), tmp_path)
    np.testing.assert_array_equal(_logits(read.model), plain_logits)


def test_an_empty_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(StageError, match=r"^the ONNX file: is no ONNX file \(.*m\.onnx: 0 bytes\)"):
        intake.read(tmp_path / "m.onnx", Build())


def test_images_that_do_not_fit_the_first_layer_are_a_short_error(tmp_path: Path) -> None:
    with pytest.raises(
        StageError, match=r"does not run \(.* \(shape \(1, 8, 8, 3\): at Conv \w+\)"
    ):
        _read(classifier(images=("N", 8, 8, 3)), tmp_path)


@pytest.mark.parametrize("is_one_file", [True, False])
def test_weights_in_other_files_of_the_folder_are_read(
    tmp_path: Path, plain_logits: NDArray[np.float32], *, is_one_file: bool
) -> None:
    outside: dict[str, Any] = {"save_as_external_data": True, "size_threshold": 0}
    read = _read(classifier(), tmp_path, all_tensors_to_one_file=is_one_file, **outside)
    np.testing.assert_array_equal(_logits(read.model), plain_logits)


def test_a_file_of_weights_that_is_not_there_is_named(tmp_path: Path) -> None:
    options: dict[str, Any] = {"save_as_external_data": True, "size_threshold": 0}
    path = saved(classifier(), tmp_path / "m.onnx", location="m.onnx.data", **options)
    (tmp_path / "m.onnx.data").write_bytes(b"short")
    with pytest.raises(StageError, match=r"does not fit the file with its weights"):
        intake.read(path, Build())
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(UsageError, match=r"is not there \(.*names m\.onnx\.data\); put that file"):
        intake.read(path, Build())


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_floats_become_fp32(
    tmp_path: Path, plain_logits: NDArray[np.float32], kind: int
) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    stored = {name: array.astype(dtype) for name, array in weights().items()}
    outputs = [("logits", kind, ("N", CLASSES))]
    read = _read(classifier(stored=stored, kind=kind, outputs=outputs), tmp_path)
    assert "were made FLOAT" in read.changes[0]
    np.testing.assert_allclose(_logits(read.model), plain_logits, atol=1e-2)


def test_casts_to_half_precision_within_become_fp32(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT16),
        *layers("x", "l"),
        helper.make_node("Cast", ["l"], ["logits"], to=TensorProto.FLOAT),
    ]
    stored = {name: array.astype(np.float16) for name, array in weights().items()}
    read = _read(classifier(nodes, stored=stored), tmp_path)
    assert not [t for t in onnx_io.tensors_of(read.model) if t.data_type == TensorProto.FLOAT16]


def test_weights_stored_as_integers_are_read_as_floats(
    tmp_path: Path, plain_logits: NDArray[np.float32]
) -> None:
    stored = weights()
    scale = np.float32(np.abs(stored["w1"]).max() / 127)
    stored["w1"], stored["scale"] = (stored["w1"] / scale).round().astype(np.int8), np.array(scale)
    nodes = [helper.make_node("DequantizeLinear", ["w1", "scale"], ["w1f"]), *layers()]
    nodes[1].input[1] = "w1f"
    read = _read(classifier(nodes, stored=stored), tmp_path)
    assert read.changes == ("its weights, stored as integers, were read as floats",)
    assert not read.is_quantized
    assert len(layer_nodes(read.model)) == 2
    np.testing.assert_allclose(_logits(read.model), plain_logits, atol=0.05)


def test_weights_in_constant_nodes_are_layers_too(
    tmp_path: Path, plain_logits: NDArray[np.float32]
) -> None:
    stored = weights()
    constant = helper.make_node("Constant", [], ["w1"], value=numpy_helper.from_array(stored["w1"]))
    del stored["w1"]
    read = _read(classifier([constant, *layers()], stored=stored), tmp_path)
    assert (len(layer_nodes(read.model)), read.changes) == (2, ())
    np.testing.assert_array_equal(_logits(read.model), plain_logits)


def test_images_of_any_size_get_that_of_the_settings(tmp_path: Path) -> None:
    model = classifier(images=("N", 3, "H", "W"))
    with pytest.raises(StageError, match=r"any size \(any x 3 x any x any\); name .*image_size_px"):
        _read(model, tmp_path)
    read = _read(model, tmp_path, Build(image_size_px=8))
    assert onnx_io.image_shape(read.model) == (3, 8, 8)
    wrong = r"contradicts the file \(16 of height and width, it takes any x 3 x 8 x 8\)"
    with pytest.raises(UsageError, match=wrong):
        _read(classifier(), tmp_path, Build(image_size_px=16))


def test_five_channels_that_come_last_are_recognised_behind_a_product(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["images", "one"], ["m"]),
        helper.make_node("Transpose", ["m"], ["x"], perm=[0, 3, 1, 2]),
        *layers("x"),
    ]
    five = np.random.default_rng(0).normal(0, 0.3, (4, 5, 3, 3)).astype(np.float32)
    stored = weights() | {"one": np.ones(5, np.float32), "w1": five}
    read = _read(classifier(nodes, images=("N", 20, 24, 5), stored=stored), tmp_path)
    assert onnx_io.image_shape(read.model) == (5, 20, 24)


@pytest.mark.parametrize("images", [("N", 3, "H", "W"), ("N", 3, 12, "W"), ("N", 3, 12, 20)])
def test_height_and_width_are_apart(tmp_path: Path, images: tuple[str | int, ...]) -> None:
    read = _read(classifier(images=images), tmp_path, Build(image_size_px=(12, 20)))
    assert onnx_io.image_shape(read.model) == (3, 12, 20)
    wrong = r"contradicts the file \(20x12 of height and width, it takes any x 3 x 12 x"
    with pytest.raises(UsageError, match=wrong):
        _read(classifier(images=("N", 3, 12, 20)), tmp_path, Build(image_size_px=(20, 12)))


def test_bytes_in_the_other_layout_are_taken_as_decoded(tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT)
    read = _read(classifier([cast, *layers("x")], kind=TensorProto.UINT8), tmp_path)
    signature = onnx_io.signature(read.model)
    assert (signature.input_type, signature.shape) == ("UINT8", (3, 8, 8))
    assert onnx_io.shape_text(read.model.graph.input[0]) == "any x 8 x 8 x 3"


TWO = [("logits", TensorProto.FLOAT, ("N", CLASSES)), ("f", TensorProto.FLOAT, ("N", 4))]


def test_of_several_outputs_the_logits_are_to_be_named(
    tmp_path: Path, plain_logits: NDArray[np.float32]
) -> None:
    model = classifier(outputs=TWO)
    with pytest.raises(StageError, match=r"more than one output \(2: logits any x 5, f any x 4\)"):
        _read(model, tmp_path)
    with pytest.raises(UsageError, match=r"build\.output: is no output of the file \(x\); name"):
        _read(model, tmp_path, Build(output="x"))
    np.testing.assert_array_equal(
        _logits(_read(model, tmp_path, Build(output="logits")).model), plain_logits
    )


def _ends(*nodes: onnx.NodeProto, output: tuple[str, int, Any]) -> ModelProto:
    return classifier([*layers(last="l"), *nodes], outputs=[output])


def _with(name: str, value: float) -> ModelProto:
    stored = weights()
    stored[name].flat[0] = value
    return classifier(stored=stored)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            _ends(
                helper.make_node("ArgMax", ["l"], ["y"], axis=1, keepdims=0),
                output=("y", TensorProto.INT64, ("N",)),
            ),
            r"classes or whole numbers in place of logits \(y: INT64 any\); .*argmax",
        ),
        (
            _ends(
                helper.make_node("ReduceMax", ["l"], ["y"], axes=[1]),
                output=("y", TensorProto.FLOAT, ("N", 1)),
            ),
            r"gives one number for an image, .* \(y: FLOAT any x 1\)",
        ),
        (
            classifier(layers()[:2], outputs=[("r", TensorProto.FLOAT, None)]),
            r"no logits of shape \(batch, classes\) \(r: FLOAT any x 4 x 3 x 3\)",
        ),
        (_with("w2", np.nan), r"weights that are not finite \(w2: 1 of 20"),
        (_with("b2", np.inf), r"weights that are not finite \(b2: 1 of 5"),
        (
            _ends(helper.make_node("Log", ["l"], ["y"]), output=("y", TensorProto.FLOAT, None)),
            r"outputs that are not finite",
        ),
        (
            _ends(
                helper.make_node("LpNormalization", ["l"], ["y"], axis=0),
                output=("y", TensorProto.FLOAT, None),
            ),
            r"other logits beside other images than alone",
        ),
    ],
    ids=["argmax", "one logit", "a map", "nan", "inf", "nan outputs", "depends on the batch"],
)
def test_what_is_no_classifier_is_refused(tmp_path: Path, model: ModelProto, message: str) -> None:
    with pytest.raises(MadpipeError, match=f"^the ONNX file: .*{message}"):
        _read(model, tmp_path)


def test_an_infinity_that_masks_is_no_fault() -> None:
    mask = np.array([0, 0, 0, 0, -np.inf], np.float32)
    nodes = [*layers(last="l"), helper.make_node("Add", ["l", "mask"], ["logits"])]
    rewrite.check_finite(classifier(nodes, stored=weights() | {"mask": mask}))


def test_a_batch_that_cannot_be_made_dynamic_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Concat", ["images", "more"], ["x"], axis=0),
        *layers("x", "l"),
        helper.make_node("Slice", ["l", "zero", "one"], ["logits"]),
    ]
    stored = weights() | {
        "more": np.zeros((1, 3, 8, 8), np.float32),
        "zero": np.array([0]),
        "one": np.array([1]),
    }
    outputs = [("logits", TensorProto.FLOAT, (1, CLASSES))]
    model = classifier(nodes, images=(1, 3, 8, 8), stored=stored, outputs=outputs)
    with pytest.raises(StageError, match=r"other logits beside other images than alone \(3 images"):
        _read(model, tmp_path)


@pytest.mark.parametrize("kind", ["ir_version", "opset"])
def test_a_file_of_a_newer_standard_says_which_version_is_read(tmp_path: Path, kind: str) -> None:
    model = classifier()
    is_opset = kind == "opset"
    newest = onnx.defs.onnx_opset_version() if is_opset else onnx.IR_VERSION
    if is_opset:
        model.opset_import[0].version = newest + 1
    else:
        model.ir_version = newest + 1
    of_onnx = rf"than onnx .*{kind} {newest + 1}, at most {newest}\); save it with {kind} {newest}"
    with pytest.raises(StageError, match=of_onnx):
        _read(model, tmp_path)


@pytest.mark.skipif(onnx.IR_VERSION < 14, reason="this onnx reads no newer file than its runtime")
def test_a_file_too_new_for_the_runtime_says_which_version_it_reads(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"newer ONNX .*ir_version 14, at most 1[0-3]\); save it"):
        _read(classifier(ir_version=14), tmp_path)


def test_a_file_without_outputs_is_refused(tmp_path: Path) -> None:
    model = classifier()
    del model.graph.output[:]
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(StageError, match=r"gives nothing \(0 outputs\)"):
        intake.read(tmp_path / "m.onnx", Build())

"""What options say of the images that an ONNX file takes becomes part of its graph and metadata."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from pipeline.errors import UsageError
from stages.engines.ort import OrtSession
from stages.networks.facts import Facts
from stages.onnxgraph.preprocessing import describe, preprocessing_of
from tests.stages.onnxgraph.graphs import CLASSES, classifier, layers, random_images

NAMES = tuple("abcde")


def test_mean_and_std_become_the_first_operations_of_the_graph() -> None:
    x_NCHW = random_images(4)
    model = classifier()
    plain = OrtSession(model.SerializeToString())
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    (change,) = describe(model, Facts(mean=mean, std=std, classes=NAMES, resize_px=10))
    assert "became part of the engine" in change
    normalised = (x_NCHW - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    wanted_NK = plain.infer(normalised.astype(np.float32))
    np.testing.assert_allclose(
        OrtSession(model.SerializeToString()).infer(x_NCHW), wanted_NK, atol=1e-5
    )
    described = preprocessing_of(model)
    assert (described.mean, described.std, described.resize_px) == (mean, std, 10)
    assert described.classes == NAMES
    assert described.assumed == ("interpolation",)


def test_none_confirms_images_between_0_and_1_and_changes_nothing() -> None:
    model = classifier()
    before = model.graph.SerializeToString()
    assert describe(model, Facts(mean=(0.0,), std=(1.0,))) == ()
    assert model.graph.SerializeToString() == before
    assert preprocessing_of(model).mean == (0.0, 0.0, 0.0)
    assert "mean" not in preprocessing_of(model).assumed


def test_nothing_said_is_assumed() -> None:
    model = classifier()
    assert describe(model, Facts()) == ()
    assert set(preprocessing_of(model).assumed) >= {"mean", "std", "classes", "resize_px"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": (0.5, 0.5), "std": (0.5, 0.5)}, r"--mean: does not fit .* 3 channels"),
        ({"classes": ("a", "b")}, rf"--labels: names 2 classes, the network has {CLASSES}"),
        ({"resize_px": 4}, r"--resize: is less than is cut out \(4; 8\)"),
    ],
)
def test_what_does_not_fit_the_file_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        describe(classifier(), Facts(**fields))


def test_a_file_that_takes_bytes_normalises_them_itself() -> None:
    cast = helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT)
    turn = helper.make_node("Transpose", ["floats"], ["x"], perm=[0, 3, 1, 2])
    nodes = [cast, turn, *layers("x")]
    model = classifier(nodes, images=("N", 8, 8, 3), kind=TensorProto.UINT8)
    with pytest.raises(UsageError, match=r"--mean: is of networks that take floats"):
        describe(model, Facts(mean=(0.5,), std=(0.5,)))
    assert describe(model, Facts(mean=(0.0,), std=(1.0,))) == ()

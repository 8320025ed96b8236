"""What is trained is the graph that runs: its logits, its gradients and what is written back."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from models.programs.onnx_graph import TorchGraph, fake_quantize
from pipeline.settings import Build
from stages.engines.base import BACKENDS
from stages.engines.ort import OrtSession
from stages.onnxgraph import convert
from stages.onnxgraph.convert import PrecisionConverter
from stages.onnxgraph.fake_quantized import FakeQuantizedGraph
from tests.stages.onnxgraph import graphs

pytestmark = pytest.mark.usefixtures("one_thread")


def _source() -> ModelProto:
    """Return a network with a depthwise layer, a sum and a clip, of which ReLUs are left out."""
    stored = graphs.weights()
    rng = np.random.default_rng(2)
    stored["wd"] = rng.normal(0, 1, (4, 1, 3, 3)).astype(np.float32)
    stored["bd"] = rng.normal(0, 0.1, 4).astype(np.float32)
    stored |= {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c"], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "wd", "bd"], ["d"], group=4, pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["d", "low", "high"], ["clipped"]),
        helper.make_node("Add", ["clipped", "r"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"], axis=1),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["logits"], transB=1),
    ]
    return graphs.classifier(nodes, stored=stored)


def _quantized(
    backend: str, monkeypatch: pytest.MonkeyPatch, *, saturates: bool = False, **options: Any
) -> tuple[ModelProto, ModelProto]:
    """Return a graph in the scheme of a backend, and the fp32 one."""
    monkeypatch.setattr(convert, "int8_products_saturate", lambda: saturates)
    images_NCHW = graphs.random_images(32)
    converter = PrecisionConverter(_source(), images_NCHW, Build(**options))
    return converter.convert("int8", BACKENDS[backend]).model, converter.model


def _ort_logits(model: ModelProto) -> np.ndarray:
    return OrtSession(model.SerializeToString(), is_optimised=False).infer(graphs.random_images())


@pytest.mark.parametrize("saturates", [False, True])
@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt"])
def test_logits_are_those_of_the_graph_and_nothing_changes_untrained(
    backend: str, monkeypatch: pytest.MonkeyPatch, *, saturates: bool
) -> None:
    model, source = _quantized(backend, monkeypatch, saturates=saturates)
    reference_NK, x_NCHW = _ort_logits(model), torch.from_numpy(graphs.random_images())
    np.testing.assert_allclose(TorchGraph(model)(x_NCHW), reference_NK, atol=1e-5)
    network = FakeQuantizedGraph(model, source)
    np.testing.assert_allclose(network(x_NCHW).detach(), reference_NK, atol=1e-3)
    written = network.rounded()
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for tensor in written.graph.initializer:
        np.testing.assert_allclose(
            numpy_helper.to_array(tensor).astype(float), arrays[tensor.name], rtol=1e-6
        )
    assert written.metadata_props == model.metadata_props


@pytest.mark.parametrize("backend", ["openvino", "tensorrt"])
def test_weights_of_4_bits_are_those_of_the_graph_and_their_scales_are_trained(
    backend: str,
) -> None:
    converter = PrecisionConverter(_source(), None, Build())
    model = converter.convert("int4", BACKENDS[backend]).model
    network = FakeQuantizedGraph(model, converter.model)
    assert len(network.log_scales) == 1
    logits_NK = network(torch.from_numpy(graphs.random_images()))
    np.testing.assert_allclose(logits_NK.detach(), _ort_logits(model), atol=0.01)
    written = network.rounded()
    for new, old in zip(written.graph.initializer, model.graph.initializer, strict=True):
        expected = numpy_helper.to_array(old).astype(float)
        np.testing.assert_allclose(numpy_helper.to_array(new).astype(float), expected, rtol=1e-6)
    logits_NK.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.log_scales[0].grad.abs().max() > 0  # type: ignore[union-attr]


@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt"])
def test_what_was_trained_is_what_runs(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, source = _quantized(backend, monkeypatch, saturates=True, float_layers=("last",))
    network = FakeQuantizedGraph(model, source)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.005)
    x_NCHW = torch.from_numpy(graphs.random_images(64))
    target_NK = 1.5 * TorchGraph(source)(x_NCHW)
    errors = []
    for _ in range(60):
        error = (network(x_NCHW) - target_NK).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < errors[0] / 2
    written = network.rounded()
    onnx.checker.check_model(written, full_check=True)
    trained_NK = network(torch.from_numpy(graphs.random_images())).detach()
    np.testing.assert_allclose(_ort_logits(written), trained_NK, atol=2e-3)
    largest = {
        t.name: int(np.abs(numpy_helper.to_array(t).astype(int)).max())
        for t in written.graph.initializer
        if t.data_type == TensorProto.INT8 and t.name.endswith("_quantized")
    }
    # Depthwise weights keep 8 bits where others have 7.
    reduced = 64 if backend == "onnxruntime" else 127
    assert largest == {"w1_quantized": reduced, "wd_quantized": 127}


def test_gradients_are_those_of_lsq() -> None:
    x = torch.tensor([-1.0, 0.3, 0.74, 9.0], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    y = fake_quantize(x, scale, torch.tensor(0.0), low=0, high=4)
    torch.testing.assert_close(y, torch.tensor([0.0, 0.5, 0.5, 2.0]))
    y.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert scale.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0]
    # Below the range its least integer, within it the error of rounding, above it the largest.
    torch.testing.assert_close(scale.grad, torch.tensor(0 + (1 - 0.6) + (1 - 1.48) + 4.0))

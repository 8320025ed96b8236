"""From torch to ONNX: by torch.export, and by tracing where that does not do.

Nothing of what the exporters print passes through; why they refuse is said in one line.

Shape legend: B batch, C channel, H W space, K classes.
"""

import contextlib
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.jit._trace import TracerWarning

from pipeline import collector, library_logs
from pipeline.atomic import scratch_folder
from pipeline.stage import StageError
from stages.networks import card as cards
from stages.networks.card import Card
from stages.onnxgraph import export_faults, padding
from stages.onnxgraph.decompositions import DECOMPOSITIONS
from stages.onnxgraph.io import INPUT, INPUT_KEY, OUTPUT, STUDENT_KEY

_PRODUCER = "madpipe"
_LARGEST_BATCH = 65536
_TRACED_OPSET = 20
"""The newest that the exporter of TorchScript writes."""
_VALUE_TAKEN = re.compile("tensor to a (Python (boolean|float|number)|NumPy)")
_INPUTS = {
    False: '{"layout":"NCHW","type":"float32","range":[0,1]}',
    True: '{"layout":"NHWC","type":"uint8","range":[0,255]}',
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one way of exporting came to: a model, or why there is none."""

    model: ModelProto | None = None
    error: StageError | None = None
    note: str | None = None
    """What to say of a model that came by another way than the first."""


class _FromBytes(nn.Module):
    """A network behind the step from decoded images, uint8 of shape BHWC, to floats of BCHW."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BCHW = (x_BHWC.float() / 255).permute(0, 3, 1, 2)
        logits_BK: Tensor = self.network(x_BCHW.clone(memory_format=torch.contiguous_format))
        return logits_BK


def from_torch(
    network: nn.Module,
    card: Card,
    *,
    opset: int,
    is_bytes: bool = False,
    student_sha256: str | None = None,
) -> ModelProto:
    """Return the network as an ONNX model with a dynamic batch and its card as metadata.

    The graph takes float images of shape NCHW in [0, 1], or uint8 of shape NHWC where `is_bytes`,
    and holds all weights; nodes carry no paths or stack traces, so the same network gives the same
    bytes wherever it is exported.

    Raises:
        StageError: No exporter can write it.
    """
    error: StageError | None = None
    for attempt in attempts(
        network, card, opset=opset, is_bytes=is_bytes, student_sha256=student_sha256
    ):
        if attempt.model is not None:
            return attempt.model
        error = error or attempt.error
    assert error is not None
    raise error


def attempts(
    network: nn.Module,
    card: Card,
    *,
    opset: int,
    is_bytes: bool = False,
    student_sha256: str | None = None,
) -> Iterator[Attempt]:
    """Yield what each way of exporting comes to, the usual one first; see `from_torch`."""
    height, width = card.size_px
    network = network.cpu().eval()
    example = torch.zeros(2, card.channels, height, width)
    if is_bytes:
        network = _FromBytes(network).eval()
        example = torch.zeros(2, height, width, card.channels, dtype=torch.uint8)
    properties = cards.metadata(card) | {INPUT_KEY: _INPUTS[is_bytes]}
    if student_sha256 is not None:
        properties[STUDENT_KEY] = student_sha256
    traced = f"the exporter of TorchScript wrote the graph, at opset {_TRACED_OPSET}"
    ways: tuple[tuple[Callable[..., ModelProto], str | None], ...] = (
        (_exported, None),
        (_decomposed, "operators that the exporter lacks were written as simpler ones"),
        (_traced, f"{traced}, since torch.export came to no sound one"),
    )
    for write, note in ways:
        try:
            with _quiet(), _channels_first(network), collector.paused():
                model = write(network, example, opset)
            _check_batch(model, card)
        except StageError as error:
            yield Attempt(error=error)
        except Exception as error:  # noqa: BLE001  (the exporters and the user's network may raise anything)
            yield Attempt(error=export_faults.explain(error, network, card.arch, _program, example))
        else:
            padding.keep_zero_padding(model)
            _clean(model, properties)
            yield Attempt(model=model, note=note)


@contextlib.contextmanager
def _channels_first(network: nn.Module) -> Iterator[None]:
    """Give a network weights in the order of their dimensions, and back those that it had.

    Of tensors in channels last torch's exporter writes global average pooling as a gather of all
    values, of which OpenVINO makes wrong means in int8.
    """
    stored = [(t, t.data) for t in (*network.parameters(), *network.buffers())]
    for tensor, data in stored:
        # Tensors with a size of 1 are contiguous in both orders, and so not copied by contiguous().
        tensor.data = data.clone(memory_format=torch.contiguous_format)
    try:
        yield
    finally:
        for tensor, data in stored:
            tensor.data = data


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' lines, graphs and warnings off the screen."""
    printed = io.StringIO()
    with (
        library_logs.switched_off(),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _descriptor_quiet() -> Iterator[None]:
    """Keep what libraries print past Python, such as the tracer's graphs, off standard output."""
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _shapes() -> tuple[dict[int, Dim]]:
    return ({0: Dim("batch", min=1, max=_LARGEST_BATCH)},)


def _exported(network: nn.Module | ExportedProgram, example: Tensor, opset: int) -> ModelProto:
    is_captured = isinstance(network, ExportedProgram)
    program = torch.onnx.export(
        network,
        () if is_captured else (example,),
        dynamo=True,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=None if is_captured else _shapes(),
        opset_version=opset,
        external_data=False,
        optimize=True,
        verbose=False,
    )
    assert program is not None
    model: ModelProto = program.model_proto
    return model


def _program(network: nn.Module, example: Tensor) -> ExportedProgram:
    with _quiet():
        return torch.export.export(network, (example,), dynamic_shapes=_shapes(), strict=False)


def _decomposed(network: nn.Module, example: Tensor, opset: int) -> ModelProto:
    program = _program(network, example)
    operators = {node.target for node in program.graph.nodes}
    if operators.isdisjoint(DECOMPOSITIONS):
        raise StageError("export", "has no operator to write as simpler ones", "see above")
    return _exported(program.run_decompositions(dict(DECOMPOSITIONS)), example, opset)


def _traced(network: nn.Module, example: Tensor, opset: int) -> ModelProto:
    """Export by tracing; StageError where Python decided by values, which a trace would fix."""
    with (
        scratch_folder() as folder,
        _descriptor_quiet(),
        warnings.catch_warnings(record=True) as caught,
    ):
        written = folder / "traced.onnx"
        warnings.simplefilter("always")
        torch.onnx.export(
            network,
            (example,),
            str(written),
            dynamo=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
            opset_version=min(opset, _TRACED_OPSET),
        )
        model = onnx.load(written)
    for warning in caught:
        # torch's own files look at sizes, which a trace has as tensors.
        is_theirs = export_faults.is_of_others(warning.filename)
        is_tracers = issubclass(warning.category, TracerWarning)
        if is_theirs and is_tracers and _VALUE_TAKEN.search(str(warning.message)):
            place = export_faults.short_place(warning.filename, warning.lineno)
            raise StageError(
                "export", f"{place} decides by the values of a tensor", export_faults.BY_VALUES
            )
    return model


def _check_batch(model: ModelProto, card: Card) -> None:
    first = model.graph.input[0].type.tensor_type.shape.dim[0]
    if first.HasField("dim_value"):
        raise StageError(
            "export",
            f"{card.arch} unrolls its batch, so that the graph would take {first.dim_value} "
            "images and no other number (a loop over images, or a batch size inside a view?)",
            "let its forward work on the whole batch: x.flatten(1), or x.view(x.size(0), -1)",
        )


def _clean(model: ModelProto, properties: dict[str, str]) -> None:
    """Take paths, stack traces and module names of this machine out; put the properties in."""
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    for proto in (model, graph, *graph.node, *values, *graph.initializer):
        del proto.metadata_props[:]
        proto.doc_string = ""
    graph.name = "classifier"
    model.producer_name, model.producer_version = _PRODUCER, ""
    onnx.helper.set_model_props(model, dict(sorted(properties.items())))

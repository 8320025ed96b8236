"""ONNX Runtime beside the contract: no output about GPUs that are not here."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pipeline import machine
from pipeline.errors import StageError, UnavailableError
from stages.engines import ort
from tests.stages.tiny import TinyRun


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
def test_a_provider_that_is_not_here_is_an_error_and_prints_nothing(
    tiny: TinyRun, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnavailableError, match="CUDAExecutionProvider does not load here"):
        ort.open(tiny.path("export/onnx"), device="cuda", threads=1)
    assert capfd.readouterr().out == ""


def test_a_session_has_the_threads_of_its_arguments(tiny: TinyRun) -> None:
    session = ort.open(tiny.path("export/onnx"), device="cpu", threads=2)
    assert session.session.get_session_options().intra_op_num_threads == 2


def test_a_file_without_the_usual_ending_is_loaded(tiny: TinyRun, tmp_path: Path) -> None:
    (tmp_path / "engine").write_bytes(tiny.path("export/onnx").read_bytes())
    assert ort.open(tmp_path / "engine", device="cpu", threads=1)


def test_a_path_that_it_does_not_open_is_named(tiny: TinyRun, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.onnx")
    path.write_bytes(tiny.path("export/onnx").read_bytes())
    with pytest.raises(StageError, match=r"is in a path that is not UTF-8, .*; rename it"):
        ort.open(path, device="cpu", threads=1)


class OnTheCpu(onnxruntime.InferenceSession):  # type: ignore[misc]
    """A session for the GPU whose nodes all fall on the CPU."""

    def __init__(
        self, model: str, options: onnxruntime.SessionOptions, providers: list[str]
    ) -> None:
        super().__init__(model, options, providers=["CPUExecutionProvider"])
        self._providers = [*providers, "CPUExecutionProvider"]


def test_layers_that_fall_on_the_cpu_are_refused_by_name(
    tiny: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", OnTheCpu)
    with pytest.raises(UnavailableError, match=r"no kernels on the GPU .*Conv.*opset = 21"):
        ort.open(tiny.path("export/onnx"), device="cuda", threads=1)


def test_arithmetic_on_shapes_may_fall_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Squeeze", ["x"], ["y"])], "g", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 21)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    monkeypatch.setattr(onnxruntime, "InferenceSession", OnTheCpu)
    assert ort.open(tmp_path / "m.onnx", device="cuda", threads=1)


def test_a_prepared_call_that_fails_names_the_shape(tiny: TinyRun) -> None:
    session = ort.open(tiny.path("export/onnx"), device="cpu", threads=1)
    call = session.prepared(np.zeros((1, 1, 9, 9), np.float32))
    with pytest.raises(StageError, match=r"^the engine: does not take such images .*1, 9, 9"):
        call()


@pytest.mark.parametrize("module", ["engines.ort", "onnxgraph.rewrite", "onnxgraph.qdq"])
def test_onnx_runtime_keeps_no_identifier_of_the_machine(tmp_path: Path, module: str) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    command = [sys.executable, "-c", f"import stages.{module}, onnxruntime"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []

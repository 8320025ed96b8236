"""OpenVINO beside the contract: the precision that it really computes in, and no telemetry."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline import machine
from pipeline.errors import UnavailableError
from pipeline.settings import Build
from stages import standalone
from stages.engines import selection
from stages.engines.ort import OrtSession
from tests.stages.onnxgraph import graphs
from tests.stages.tiny import TinyRun

pytestmark = pytest.mark.skipif(not machine.has_module("openvino"), reason="openvino is absent")

PRECISIONS = [
    precision
    for precision in ("fp32", "bf16", "int8", "int4")
    if selection.unsupported("openvino", precision, Build(device="cpu")) is None
]
REACHED = {"fp32": {"f32"}, "bf16": {"bf16"}, "int8": {"i8", "u8"}, "int4": {"f32"}}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_layers_compute_in_the_precision_of_the_settings(
    tiny: TinyRun, tmp_path: Path, precision: str
) -> None:
    options = Build(backend="openvino", device="cpu", precision=precision)  # type: ignore[arg-type]
    images_path = tiny.path("distill/bank") if precision == "int8" else None
    manifest = standalone.build(tiny.path("export/onnx"), tmp_path, options, images_path)
    assert set(manifest.reached) & REACHED[precision]
    if precision == "fp32":
        assert set(manifest.reached) == {"f32"}


def test_linear_layers_of_4_bits_leave_their_activations_in_float(tmp_path: Path) -> None:
    options = Build(backend="openvino", device="cpu", precision="int4")
    standalone.build(graphs.saved(graphs.classifier(), tmp_path / "m.onnx"), tmp_path, options)
    path, x_NCHW = tmp_path / "engine.onnx", graphs.random_images()
    expected_NK = OrtSession(path, is_optimised=False).infer(x_NCHW)
    logits_NK = selection.backend("openvino").open(path, device="cpu", threads=1).infer(x_NCHW)
    np.testing.assert_allclose(logits_NK, expected_NK, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_session_has_the_threads_of_its_arguments(tiny: TinyRun, threads: int) -> None:
    session = selection.backend("openvino").open(
        tiny.path("export/onnx"), device="cpu", threads=threads
    )
    compiled = session._compiled  # type: ignore[attr-defined]
    assert compiled.get_property("INFERENCE_NUM_THREADS") == threads


def test_bf16_on_a_processor_without_it_is_refused_with_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "cpu_features", lambda: frozenset({"avx2"}))
    unsupported = selection.unsupported("openvino", "bf16", Build(device="cpu"))
    assert unsupported is not None
    with pytest.raises(UnavailableError, match=r"this processor cannot .*use fp32, int8"):
        unsupported.check()


def test_a_session_sends_nothing_and_leaves_no_identifier(tiny: TinyRun, tmp_path: Path) -> None:
    script = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs):\n"
        "    sys.exit('a connection was opened')\n"
        "socket.socket.connect = refuse\n"
        "from pathlib import Path\n"
        "import numpy\n"
        "from stages.engines import selection\n"
        "session = selection.backend('openvino').open(\n"
        "    Path(sys.argv[1]), device='cpu', threads=1)\n"
        "session.infer(numpy.zeros((1, 1, 8, 8), numpy.float32))\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "assert telemetry_utils.tm.__name__.endswith('telemetry_stub')\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, str(tiny.path("export/onnx"))],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(tmp_path.iterdir()) == []
    assert process.returncode == 0, process.stderr

"""ONNX Runtime beside the contract: no output about GPUs that are not here."""

from pathlib import Path

import pytest

from pipeline import machine
from pipeline.errors import UnavailableError
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
    assert session._session.get_session_options().intra_op_num_threads == 2


def test_a_file_without_the_usual_ending_is_loaded(tiny: TinyRun, tmp_path: Path) -> None:
    (tmp_path / "engine").write_bytes(tiny.path("export/onnx").read_bytes())
    assert ort.open(tmp_path / "engine", device="cpu", threads=1)

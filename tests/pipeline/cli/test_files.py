"""Commands on files refuse what does not fit before they load anything."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import files
from stages.data.datasets import SPECS
from tests.measurements import NOT_RUN
from tests.stages.tiny import weights_file

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    (tmp_path / "net.pth").touch()
    (tmp_path / "mine.py").touch()
    (tmp_path / "net-0.95").touch()
    (tmp_path / "weights.safetensors").touch()
    (tmp_path / "engine").mkdir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("export", "--student", "weights.safetensors", "--precision", "fp16"),
            "--precision: exports are fp32 (fp16); give the precision to madpipe build",
        ),
        (
            ("export", "--student", "weights.safetensors", "--out", "engine"),
            "--out: is a folder (engine); name a file in it, such as engine/weights.onnx",
        ),
        (
            ("export", "--student", "weights.safetensors", "--out", "./weights.safetensors"),
            "--out: is the file of the weights (weights.safetensors); name another file",
        ),
        (
            ("export", "--student", "net-0.95", "--out", "engine"),
            "--out: is a folder (engine); name a file in it, such as engine/net-0.95.onnx",
        ),
        (
            ("export", "--student", "weights.safetensors", "--out", "-"),
            "--out: is no file (-); name a file that ends in .onnx",
        ),
        (
            ("export", "--student", "weights.safetensors", "--out", os.devnull),
            f"--out: is no file ({os.devnull}); name a file that ends in .onnx",
        ),
        (
            ("export", "--student", "weights.safetensors", "--out", "mine.py"),
            (
                "--out: is there and has not the name of an ONNX file (mine.py); name a file that "
                "ends in .onnx, or remove it"
            ),
        ),
        (
            ("export", "--student", "net.pth"),
            (
                "--out: would replace an ONNX file of another program (net.onnx); name the file to "
                "write"
            ),
        ),
        (
            ("build", "--onnx", "net.onnx", "--precision", "fp32", "--calibration", "engine"),
            "--calibration: only int8, fp8 and int4 take images (fp32); drop one of both",
        ),
        (
            ("build", "--calibration", "engine"),
            (
                "--calibration: has no meaning without --onnx (engine); give --onnx, or set it in "
                "pipeline.toml where the pipeline has it"
            ),
        ),
        (
            ("validate", "--teacher", "weights.safetensors"),
            (
                "--teacher: has no meaning without --engine (weights.safetensors); give --engine, "
                "or set it in pipeline.toml where the pipeline has it"
            ),
        ),
        (
            ("export", "--strict"),
            (
                "--strict: has no meaning without --student (True); give --student, or set it in "
                "pipeline.toml where the pipeline has it"
            ),
        ),
        (
            ("build", "--precision", "fp8", "--backend", "openvino"),
            "pipeline.toml: no such file; write one with 'madpipe init' or name it with --config",
        ),
        (
            ("build", "--onnx", "net.onnx", "--config", "other.toml"),
            "--config: has no meaning with --onnx (other.toml); drop it, or --onnx",
        ),
        (
            ("build", "--onnx", "net.onnx", "--set", "build.zzz=3"),
            (
                "--set build.zzz: unknown key (zzz); known here: backend, device, "
                "ep_context, precision, targets, calibration_method, int8, int8_steps, "
                "int8_batch_size, int8_learning_rate, calibration_images, equalise, float_layers, "
                "max_disagreement, bisect_layers, output, image_size_px, tensorrt"
            ),
        ),
        (
            ("build", "--onnx", "net.onnx", "--precision", "fp32", "--target", "sm90"),
            (
                "--target: tensorrt-rtx knows no such architecture (sm90); name some of sm75, "
                "sm80, sm86, sm89, sm120, sm121, or build where the GPU is, by tensorrt"
            ),
        ),
        (
            ("build", "--onnx", "net.onnx", "--set", "distill.rounds=3"),
            "--set: has no part in this command (distill.rounds=3); change [build] alone",
        ),
        (
            ("validate", "--engine", "engine", "--set", "build.precision=int8"),
            (
                "--set: has no part in this command (build.precision=int8); change [validate] and "
                "[gates] alone"
            ),
        ),
        (
            ("validate", "--engine", "engine"),
            "--teacher: is needed with --engine (absent); name its weights file",
        ),
        (
            ("validate", "--engine", "engine", "--teacher", "weights.safetensors", "--data", "dig"),
            (
                "--data: names no source of images, did you mean 'digits'? (dig); give digits, "
                f"bank:FILE.npz, or SOURCE:FOLDER with one of {', '.join(SPECS)}"
            ),
        ),
        (
            (
                "validate",
                "--engine",
                "engine",
                "--teacher",
                "weights.safetensors",
                "--data",
                "engine",
            ),
            "--data: names no source of images (engine); give folder:engine",
        ),
        (
            (
                "validate",
                "--engine",
                "engine",
                "--teacher",
                "weights.safetensors",
                "--data",
                "folder:nope",
            ),
            "--data: no such folder (nope); correct the path",
        ),
        (
            ("build", "--onnx", "net.onnx", "--backend", "trt"),
            (
                "command line: Invalid value for '--backend': 'trt' is not one of 'auto', "
                "'tensorrt', 'tensorrt-rtx', 'onnxruntime', 'openvino'; see madpipe --help"
            ),
        ),
        (
            ("export", "--student", "gone.safetensors"),
            (
                "command line: Invalid value for '--student': File 'gone.safetensors' does not "
                "exist; see madpipe --help"
            ),
        ),
        (
            ("build", "--onnx", "engine"),
            (
                "command line: Invalid value for '--onnx': File 'engine' is a directory; "
                "see madpipe --help"
            ),
        ),
        (
            ("export",),
            "pipeline.toml: no such file; write one with 'madpipe init' or name it with --config",
        ),
    ],
)
def test_what_does_not_fit_is_one_line_with_exit_code_2(
    madpipe: Call, arguments: tuple[str, ...], message: str
) -> None:
    assert madpipe(*arguments) == (2, "", message + "\n")


@pytest.mark.parametrize("command", ["export", "build", "validate", "distill"])
def test_command_without_a_file_is_the_stage_of_its_name(
    madpipe: Call, tmp_path: Path, command: str
) -> None:
    (tmp_path / "pipeline.toml").touch()
    (tmp_path / ".madpipe").mkdir()
    # The folder of runs is in the way, so that the run ends before any stage.
    (tmp_path / ".madpipe" / "runs").touch()
    code, _, err = madpipe(command)
    assert code == 1
    assert "runs: cannot be read or written (File exists)" in err


def test_a_network_is_exported_for_sides_that_differ(madpipe: Call, tmp_path: Path) -> None:
    weights_file(tmp_path / "t.safetensors", image_size_px=24, width_px=40)
    code, out, _ = madpipe("export", "--student", "t.safetensors", "--image-size", "24x40")
    assert code == 0
    assert "image_size_px 24x40" in out
    code, _, err = madpipe("export", "--student", "t.safetensors", "--image-size", "40x24")
    wrong = "--image-size: contradicts the card in the file (40x24, not 24x40); leave it out\n"
    assert (code, err) == (2, wrong)


@pytest.mark.slow
def test_an_engine_is_judged_by_the_bounds_of_the_command_line(
    madpipe: Call, tmp_path: Path
) -> None:
    weights_file(tmp_path / "t.safetensors")
    assert madpipe("export", "--student", "t.safetensors")[0] == 0
    options = ("--backend", "onnxruntime", "--device", "cpu", "--precision", "fp32")
    assert madpipe("build", "--onnx", "t.onnx", *options)[0] == 0
    quick = ("pairs=20", "warmup_s=0.01", "teacher_engine=false", "batch_sizes=[1]")
    changes = [f"validate.{change}" for change in quick]
    command = ["validate", "--engine", "t", "--teacher", "t.safetensors", "--max-drop", "0.05"]
    for change in (*changes, "gates.speedup.min=10000"):
        command += ["--set", change]
    code, out, err = madpipe(*command)
    assert code == 3
    assert "drop      top-1 0.0000 against the teacher" in out
    assert "engine_top1_drop pass: " in err
    assert "speedup fail: " in err
    assert "student_top1_drop" not in err  # a default that the command line does not name


def test_an_engine_that_did_not_run_has_no_latency(capsys: pytest.CaptureFixture[str]) -> None:
    files._print(NOT_RUN)
    assert "latency   not measured: built for sm89\n" in capsys.readouterr().out

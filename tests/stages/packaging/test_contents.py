"""What is in a package, and that its example really runs."""

import ast
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import machine
from pipeline.errors import StageError, UsageError
from pipeline.gates.build_records import EngineManifest, EpContext
from pipeline.preprocessing import Interpolation
from pipeline.report.records import Report, RunSummary
from pipeline.settings import BackendName, Build, Data, Export, InputName, PrecisionName
from stages import standalone
from stages.data import images
from stages.data.datasets import spec_of
from stages.data.files import ImageFiles
from stages.engines.base import BACKENDS
from stages.engines.open_engine import open_engine, read_manifest
from stages.packaging import archive, contents
from tests.measurements import MEASURED, changed
from tests.stages.tiny import TinyRun


@pytest.fixture(scope="module")
def built(tiny: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an engine of the tiny student."""
    folder = tmp_path_factory.mktemp("built")
    standalone.build(tiny.path("export/onnx"), folder, Build(device="cpu", precision="fp32"))
    return folder


def _collect(folder: Path, **more: Any) -> tuple[str, archive.Files]:
    return contents.collect(folder, **{"place": "--engine", "name": None, "report": None, **more})


def _changed(built: Path, folder: Path, **changes: Any) -> Path:
    for file in built.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=EngineManifest)
    manifest = msgspec.structs.replace(manifest, **changes)
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return folder


def test_a_package_holds_all_that_is_needed_and_is_called_after_the_network(built: Path) -> None:
    name, files = _collect(built)
    assert name == "resnet8"
    assert set(files) == {
        "engine.onnx",
        "manifest.json",
        "labels.txt",
        "README.md",
        "run.py",
        "serve.py",
        "requirements.txt",
        "Dockerfile",
        "triton/resnet8/config.pbtxt",
        "triton/resnet8/labels.txt",
        "triton/resnet8/1/model.onnx",
    }
    assert files["labels.txt"] == b"".join(b"%d\n" % digit for digit in range(10))


@pytest.mark.parametrize(
    "version",
    ["", "1.0\n--index-url https://example.org", "1.0 @ https://example.org/x", "1.0;x", "-r x"],
)
def test_a_manifest_s_version_becomes_a_requirement_only_where_it_is_one(
    built: Path, tmp_path: Path, version: str
) -> None:
    match = r"^--engine: its manifest names what is no version \("
    with pytest.raises(StageError, match=match):
        _collect(_changed(built, tmp_path, backend_version=version))
    compiled = EpContext(provider="TensorrtExecutionProvider", version=version)
    with pytest.raises(StageError, match=match):
        _collect(_changed(built, tmp_path, ep_context=compiled))


@pytest.mark.parametrize(
    ("backend", "precision", "kind"),
    [
        ("onnxruntime", "fp32", "float-nchw"),
        ("onnxruntime", "fp32", "uint8-nhwc"),
        ("openvino", "fp32", "float-nchw"),
        ("openvino", "int8", "uint8-nhwc"),
    ],
)
def test_the_example_names_the_class_of_a_digit(
    tiny: TinyRun, tmp_path: Path, backend: BackendName, precision: PrecisionName, kind: InputName
) -> None:
    onnx, folder = tmp_path / "teacher.onnx", tmp_path / "engine"
    standalone.export(
        tiny.path("teacher/weights"),
        onnx,
        options=Export(input=kind),
    )
    options = Build(backend=backend, device="cpu", precision=precision)
    calibration = tiny.path("distill/bank") if precision == "int8" else None
    standalone.build(onnx, folder, options, calibration)
    archive.write(_collect(folder)[1], tmp_path / "package", overwrite=False)
    held_out = images.load(tiny.settings.data, None).held_out
    paths = []
    for number in range(50):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(held_out.x_NCHW[:][number, 0].numpy(), "L").save(paths[-1])
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "package" / "run.py"), *map(str, paths)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [str(path) for path in paths]
    x_NCHW = held_out.batch(slice(0, 50), torch.device("cpu")).contiguous().numpy()
    engine = folder / "engine.onnx"
    opened = open_engine(read_manifest(folder / "manifest.json", engine), engine, threads=1)
    assert [int(row[1]) for row in rows] == opened.infer(x_NCHW).argmax(axis=1).tolist()
    right = [row[1] == held_out.classes[y] for row, y in zip(rows, held_out.y_N, strict=False)]
    assert sum(right) >= 40


def test_the_example_takes_the_middle_of_an_image_as_validation_does(
    tiny: TinyRun, tmp_path: Path
) -> None:
    onnx, folder = tmp_path / "teacher.onnx", tmp_path / "engine"
    standalone.export(
        tiny.path("teacher/weights"),
        onnx,
    )
    standalone.build(onnx, folder, Build(backend="onnxruntime", device="cpu", precision="fp32"))
    archive.write(_collect(folder)[1], tmp_path / "package", overwrite=False)
    digit = images.load(tiny.settings.data, None).held_out.x_NCHW[:][0, 0].numpy()
    wide = Image.new("L", (24, 8), 255)
    wide.paste(Image.fromarray(digit, "L"), (8, 0))
    wide.save(tmp_path / "wide.png")
    Image.fromarray(digit, "L").save(tmp_path / "square.png")
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "package" / "run.py"), "wide.png", "square.png"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    one, other = (line.split("\t")[1:] for line in done.stdout.splitlines())
    assert one == other
    for arguments, message in (
        ((), "no image: python run.py IMAGE...\n"),
        (("gone.png",), "gone.png: no such file\n"),
    ):
        done = subprocess.run(
            [sys.executable, "-I", str(tmp_path / "package" / "run.py"), *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (1, message)


@pytest.mark.parametrize("data", [Data(source="imagenet"), Data(source="folder", resize_px=70)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_example_scales_and_crops_as_validation_does(
    built: Path, tmp_path: Path, data: Data, interpolation: Interpolation
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (131, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    manifest = msgspec.json.decode((built / "manifest.json").read_bytes(), type=EngineManifest)
    assert manifest.signature is not None
    signature = msgspec.structs.replace(manifest.signature, shape=(3, 64, 64), input_type="UINT8")
    (tmp_path / "engine").mkdir()
    data = msgspec.structs.replace(data, image_size_px=64, interpolation=interpolation)
    spec = spec_of(data)
    described = {"signature": signature, "preprocessing": spec.preprocessing()}
    files = _collect(_changed(built, tmp_path / "engine", **described))[1]
    (tmp_path / "run.py").write_bytes(files["run.py"])
    read = runpy.run_path(str(tmp_path / "run.py"))["read"]
    validated = ImageFiles([str(tmp_path / "image.png")], spec)[:].permute(0, 2, 3, 1).numpy()
    x_BHWC = read(tmp_path / "image.png", msgspec.to_builtins(described))
    np.testing.assert_array_equal(x_BHWC, validated)


def test_the_example_refuses_an_engine_with_another_byte(built: Path, tmp_path: Path) -> None:
    _, files = _collect(built)
    archive.write(files, tmp_path / "package", overwrite=False)
    with (tmp_path / "package" / "engine.onnx").open("ab") as engine:
        engine.write(b"\0")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "package" / "run.py"), "x.png"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "is not the one that manifest.json describes" in done.stderr


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
def test_the_example_does_not_run_an_engine_for_the_gpu_on_the_cpu(
    built: Path, tmp_path: Path
) -> None:
    (tmp_path / "engine").mkdir()
    files = _collect(_changed(built, tmp_path / "engine", device="cuda"))[1]
    archive.write(files, tmp_path / "package", overwrite=False)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "package" / "run.py")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "CUDAExecutionProvider does not load here" in done.stderr


def test_results_are_taken_from_the_run_of_this_very_engine(built: Path) -> None:
    manifest = msgspec.json.decode((built / "manifest.json").read_bytes(), type=EngineManifest)
    report = Report(
        run=RunSummary(command="madpipe run all", started_utc="", elapsed_s=1.0),
        stages=(),
        accuracy=MEASURED.accuracy,
        engine=manifest,
    )
    files = _collect(built, report=report)[1]
    assert b"| engine | 0.9800 | 540 |" in files["README.md"]
    files = _collect(built, report=changed(report, "engine", sha256="0" * 64))[1]
    assert b"has not been validated" in files["README.md"]


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a b"])
def test_a_name_that_is_none_is_refused(built: Path, name: str) -> None:
    if name:
        with pytest.raises(UsageError, match=r"^--name: cannot be a model's name"):
            _collect(built, name=name)
    else:
        assert _collect(built, name=name)[0] == "resnet8"


@pytest.mark.parametrize("engine", ["../engine.onnx", "/etc/passwd", "a/b"])
def test_a_manifest_that_leads_out_of_its_folder_is_refused(
    built: Path, tmp_path: Path, engine: str
) -> None:
    with pytest.raises(StageError, match="its manifest leads out of the folder"):
        _collect(_changed(built, tmp_path, engine=engine))


def test_an_engine_that_was_changed_is_not_packed(built: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="is not the one that its manifest describes"):
        _collect(_changed(built, tmp_path, sha256="0" * 64))


def test_an_old_manifest_is_refused(built: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no signature"):
        _collect(_changed(built, tmp_path, signature=None))


def test_every_backend_has_an_example_that_python_reads() -> None:
    assert set(contents.EXAMPLES) == set(BACKENDS)
    for backend in contents.EXAMPLES:
        ast.parse(contents.example(backend))


def test_labels_stay_one_a_line(built: Path, tmp_path: Path) -> None:
    manifest = msgspec.json.decode((built / "manifest.json").read_bytes(), type=EngineManifest)
    assert manifest.signature is not None
    odd = msgspec.structs.replace(manifest.signature, classes=("a\nb", " c "), arch="x:y/../z")
    name, files = _collect(_changed(built, tmp_path, signature=odd))
    assert files["labels.txt"] == b"a b\nc\n"
    assert name == "x_y_.._z"


def test_an_engine_that_a_provider_compiled_is_packed_without_triton(
    built: Path, tmp_path: Path
) -> None:
    context = EpContext(provider="TensorrtExecutionProvider", version="10.16.1")
    _, files = _collect(_changed(built, tmp_path, device="cuda-tensorrt", ep_context=context))
    assert not [name for name in files if name.startswith("triton/")]
    assert b"Triton does not load what an execution provider" in files["README.md"]
    assert b"tensorrt-cu13==10.16.1\n" in files["requirements.txt"]


@pytest.mark.skipif(not machine.has_module("tensorrt_rtx"), reason="TensorRT-RTX is absent")
def test_an_engine_of_tensorrt_rtx_is_packed_without_triton(tiny: TinyRun, tmp_path: Path) -> None:
    options = Build(backend="tensorrt-rtx", precision="fp32", targets=("sm89",))
    standalone.build(tiny.path("export/onnx"), tmp_path, options)
    _, files = _collect(tmp_path)
    shared = {"engine.plan", "manifest.json", "labels.txt", "README.md"}
    assert set(files) == shared | {"run.py", "serve.py", "requirements.txt", "Dockerfile"}
    example = files["run.py"]
    assert b"import tensorrt_rtx as trt" in example
    ast.parse(example)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_the_example_survives_a_terminal_that_lacks_the_letters_of_a_class(backend: str) -> None:
    text = (Path(contents.__file__).parent / f"run_{backend}.py.txt").read_text(encoding="utf-8")
    start = text.index("def main()")
    assert 'sys.stdout.reconfigure(errors="backslashreplace")' in text[start : text.index("print(")]

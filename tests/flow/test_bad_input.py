"""What users get wrong, through the command line: one message on stderr and the right exit code."""

import json
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from models.resnet import CifarResNet
from pipeline import machine
from pipeline.cli.main import main
from stages.networks import card as cards
from stages.networks import weights
from stages.networks.card import Card

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = ("teacher.arch=resnet8", "teacher.epochs=1", "distill.rounds=2", "distill.bank_size=2")


class Result(NamedTuple):
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    error: str

    def is_one_message(self) -> bool:
        """Return whether the error is one line of the form `place: what is wrong; what to do`."""
        line = self.error.rstrip("\n")
        return "\n" not in line and ": " in line and "; " in line and "Traceback" not in line


Madpipe = Callable[..., Result]


@pytest.fixture
def madpipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Madpipe:
    """Run the command line in this process, in an empty project folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MADPIPE_HOME", raising=False)
    (tmp_path / "pipeline.toml").touch()

    def call(*words: str, sets: Sequence[str] = ()) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([*words, *(word for change in sets for word in ("--set", change))])
        captured = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Result(caught.value.code, captured.out, captured.err)

    return call


def _resnet8(classes: int = 10) -> CifarResNet:
    torch.manual_seed(0)
    return CifarResNet(depth=8, width=16, in_channels=1, num_classes=classes)


def _nothing_ran(folder: Path) -> bool:
    return not list(folder.glob(".madpipe/entries/*/*/entry.json"))


UNAVAILABLE = [
    ("build.backend=tensorrt", "tensorrt"),
    ("build.backend=tensorrt-rtx", "tensorrt"),
    ("build.precision=fp8", "use fp32"),
]


@pytest.mark.parametrize(("setting", "fix"), UNAVAILABLE)
def test_a_backend_that_is_not_here_ends_the_run_before_any_stage(
    madpipe: Madpipe, tmp_path: Path, setting: str, fix: str
) -> None:
    result = madpipe("run", "all", "--json", sets=[*FEW, setting])
    assert result.code == 5
    assert result.error.startswith(f"{setting.partition('=')[0]}: ")
    assert fix in result.error
    assert result.is_one_message()
    kinds = [json.loads(line)["kind"] for line in result.out.splitlines()]
    assert "stage_started" not in kinds
    assert _nothing_ran(tmp_path)


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
def test_a_gpu_that_is_not_here_ends_the_run_before_any_stage(
    madpipe: Madpipe, tmp_path: Path
) -> None:
    result = madpipe("run", "all", sets=[*FEW, "build.device=cuda"])
    assert result.code == 5
    assert 'use device "cpu", or install the NVIDIA driver' in result.error
    assert result.is_one_message()
    assert _nothing_ran(tmp_path)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_a_teacher_that_would_run_code_is_refused_and_does_not(
    madpipe: Madpipe, tmp_path: Path
) -> None:
    torch.save({"state_dict": {}, "x": Bomb(tmp_path / "harm")}, tmp_path / "teacher.pth")
    result = madpipe("run", "distill", sets=[*FEW, "teacher.weights=teacher.pth"])
    assert result.code == 1
    assert "could run code" in result.error
    assert result.is_one_message()
    assert not (tmp_path / "harm").exists()


def test_a_bare_pickle_as_teacher_is_refused_and_does_not_run(
    madpipe: Madpipe, tmp_path: Path
) -> None:
    (tmp_path / "teacher.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "harm"), protocol=2))
    result = madpipe("run", "teacher", sets=[*FEW, "teacher.weights=teacher.pkl"])
    assert result.code == 1
    assert result.error.startswith("teacher.weights: ")
    assert result.is_one_message()
    assert not (tmp_path / "harm").exists()


def _truncated(path: Path) -> None:
    torch.save(_resnet8().state_dict(), path)
    path.write_bytes(path.read_bytes()[:5000])


def _other_classes(path: Path) -> None:
    torch.save(_resnet8(classes=7).state_dict(), path)


def _blind(path: Path) -> None:
    network = _resnet8()
    torch.nn.init.zeros_(network.fc.weight)
    torch.save(network.state_dict(), path)


@pytest.mark.parametrize(
    ("write", "arch", "wanted"),
    [
        (_truncated, "resnet8", "truncated"),
        (_other_classes, "resnet8", "fc.weight is (7, 64), not (10, 64)"),
        (_blind, "resnet20", "do not fit resnet20"),
        (_blind, "resnet8", "is no better than chance"),
    ],
    ids=["truncated", "other classes", "other architecture", "blind"],
)
def test_a_teacher_that_does_not_fit_is_refused(
    madpipe: Madpipe, tmp_path: Path, write: Callable[[Path], None], arch: str, wanted: str
) -> None:
    write(tmp_path / "teacher.pth")
    result = madpipe("run", "all", sets=[f"teacher.arch={arch}", "teacher.weights=teacher.pth"])
    assert result.code == 1
    assert wanted in result.error
    assert result.is_one_message()
    assert _nothing_ran(tmp_path)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("def make():\n    raise ValueError('bad day')\n", "the function raises ValueError"),
        ("def make():\n    return 'resnet'\n", "returns str, not a torch module"),
        ("def other():\n    pass\n", "has no such function"),
        ("import nothing_like_this\n", "ModuleNotFoundError"),
    ],
)
def test_a_users_file_that_gives_no_network_is_refused(
    madpipe: Madpipe, tmp_path: Path, text: str, wanted: str
) -> None:
    (tmp_path / "net.py").write_text(text, encoding="utf-8")
    result = madpipe("run", "teacher", sets=["teacher.arch=net.py:make"])
    assert result.code == 1
    assert result.error.startswith("teacher.arch: ")
    assert wanted in result.error
    assert result.is_one_message()


def test_missing_files_that_the_settings_name_are_all_reported_before_anything_runs(
    madpipe: Madpipe, tmp_path: Path
) -> None:
    sets = ["teacher.weights=none.pth", "student.arch=none.py:make", "data.source=cifar10"]
    result = madpipe("run", "all", sets=sets)
    assert result.code == 2
    for key in ("teacher.weights", "student.arch", "data.root"):
        assert f"{key}: no such file or folder" in result.error
    assert _nothing_ran(tmp_path)


def _write_images(root: Path, *classes: str) -> None:
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")


FOLDER = ("data.source=folder", "data.root=images", "data.image_size_px=8")


def test_an_unreadable_image_is_named(madpipe: Madpipe, tmp_path: Path) -> None:
    _write_images(tmp_path / "images", "a", "b")
    (tmp_path / "images" / "b" / "2.png").write_bytes(b"no image")
    result = madpipe("run", "teacher", sets=[*FEW, *FOLDER])
    assert result.code == 1
    assert os.path.join("b", "2.png") in result.error  # noqa: PTH118
    assert result.is_one_message()


def test_a_folder_of_one_class_is_refused(madpipe: Madpipe, tmp_path: Path) -> None:
    _write_images(tmp_path / "images", "only")
    result = madpipe("run", "teacher", sets=[*FEW, *FOLDER])
    assert result.code == 1
    assert "data.root: holds 1 class folders" in result.error
    assert result.is_one_message()


def test_a_file_in_place_of_the_image_folder_is_refused_by_its_setting(
    madpipe: Madpipe, tmp_path: Path
) -> None:
    (tmp_path / "images").write_text("no folder", encoding="utf-8")
    result = madpipe("run", "teacher", sets=[*FEW, *FOLDER])
    assert result.code in {1, 2}
    assert "data.root" in result.error
    assert result.is_one_message()


def test_cifar_without_its_files_reports_where_to_put_them(
    madpipe: Madpipe, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    result = madpipe("run", "teacher", sets=[*FEW, "data.source=cifar10"])
    assert result.code == 1
    assert "cifar-10-batches-py" in result.error
    assert result.is_one_message()


def _two_inputs(path: Path) -> None:
    names = ("a", "b", "y")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in names]
    node = helper.make_node("Add", ["a", "b"], ["y"])
    graph = helper.make_graph([node], "g", ends[:2], ends[2:])
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))


def _cut_model(path: Path) -> None:
    _two_inputs(path)
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("write", "wanted"),
    [
        (_cut_model, "ONNX file"),
        (_two_inputs, "needs one input, of images"),
        (lambda path: path.write_text("hello"), "is no ONNX file"),
    ],
    ids=["truncated", "two inputs", "text"],
)
def test_an_onnx_file_that_is_no_classifier_is_not_built(
    madpipe: Madpipe, tmp_path: Path, write: Callable[[Path], object], wanted: str
) -> None:
    write(tmp_path / "m.onnx")
    result = madpipe("build", "--onnx", str(tmp_path / "m.onnx"), "--out", str(tmp_path / "engine"))
    assert result.code == 1
    assert wanted in result.error
    assert result.is_one_message()


def _student(path: Path) -> None:
    """Write an untrained student with its card."""
    card = Card(
        arch="resnet8", channels=1, image_size_px=8, mean=(0.3,), std=(0.4,),
        classes=tuple("0123456789"),
    )  # fmt: skip
    weights.save(path, _resnet8(), cards.metadata(card))


def test_an_engine_with_a_flipped_byte_is_not_validated(madpipe: Madpipe, tmp_path: Path) -> None:
    student, engine_folder = str(tmp_path / "s.safetensors"), tmp_path / "s"
    _student(Path(student))
    for words in (("export", "--student", student), ("build", "--onnx", "s.onnx")):
        result = madpipe(*words)
        assert result.code == 0, result.error
    (engine,) = engine_folder.glob("engine.*")
    content = bytearray(engine.read_bytes())
    content[len(content) // 2] ^= 1
    engine.write_bytes(content)
    result = madpipe("validate", "--engine", str(engine_folder), "--teacher", student)
    assert result.code == 1
    assert "is not the one that its manifest describes" in result.error
    assert result.is_one_message()

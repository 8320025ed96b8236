"""What does not fit is refused before anything runs, and only where it can be known."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch

from pipeline.errors import StageError, UnavailableError
from pipeline.settings import Data
from stages.preflight import NeedsNetwork
from tests.stages.tiny import resnet8

FOLDER = Data(source="folder", image_size_px=8, mean=(0.5,), std=(0.5,))


def _needs(arch: str, folder: Path, data: Data | None = None, code: str = "") -> NeedsNetwork:
    file = folder / "net.py"
    file.write_text(code, encoding="utf-8")
    return NeedsNetwork(
        setting="student.arch", arch=arch, code=file if code else None, data=data, root=folder
    )


SEVEN = """
from torch import nn
def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))
"""


def test_a_network_that_fits_is_let_through(tmp_path: Path) -> None:
    _needs("resnet8", tmp_path, Data()).check()


def test_another_number_of_classes_is_refused_by_what_the_source_has(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"^student.arch: .* gives \(7,\) outputs for 10 classes"):
        _needs("net.py:make", tmp_path, Data(), SEVEN).check()


def test_weights_to_start_from_that_are_of_another_network_are_refused_at_once(
    tmp_path: Path,
) -> None:
    torch.save(resnet8(classes=3).state_dict(), tmp_path / "w.pth")
    needs = replace(_needs("resnet8", tmp_path, Data()), start_weights=tmp_path / "w.pth")
    needs.check()  # a head for other classes starts at random
    with pytest.raises(StageError, match=r"^student.weights: weights do not fit resnet14"):
        replace(needs, arch="resnet14").check()


@pytest.mark.parametrize("parts", [("",), ("val",), ("train", "test")])
def test_classes_of_a_folder_are_counted_in_its_parts(
    tmp_path: Path, parts: tuple[str, ...]
) -> None:
    for part in parts:
        for number in range(7):
            (tmp_path / part / str(number)).mkdir(parents=True)
    _needs("net.py:make", tmp_path, FOLDER, SEVEN).check()
    (tmp_path / parts[0] / "more").mkdir()
    with pytest.raises(StageError, match="outputs for 8 classes"):
        _needs("net.py:make", tmp_path, FOLDER, SEVEN).check()


def test_folders_may_be_some_of_the_classes_that_the_settings_or_the_teacher_name(
    tmp_path: Path,
) -> None:
    for name in ("c2", "c5"):
        (tmp_path / name).mkdir()
    names = tuple(f"c{number}" for number in range(7))
    needs = _needs("net.py:make", tmp_path, FOLDER, SEVEN)
    with pytest.raises(StageError, match=r"\(7,\) outputs for 2 classes; .* in data\.classes"):
        needs.check()
    replace(needs, data=msgspec.structs.replace(FOLDER, classes=names)).check()
    torch.save({"classes": names, "state_dict": {}}, tmp_path / "t.pth")
    replace(needs, teacher_weights=tmp_path / "t.pth").check()


@pytest.mark.parametrize("data", [None, FOLDER])
def test_where_classes_cannot_be_known_nothing_is_refused(
    tmp_path: Path, data: Data | None
) -> None:
    _needs("net.py:make", tmp_path, data, SEVEN).check()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def make():\n    raise ValueError('bad\\nday')", r"raises ValueError: bad \("),
        ("def make():\n    return 3", "returns int, not a torch module"),
    ],
)
def test_a_factory_that_returns_no_network_is_refused_in_one_line(
    tmp_path: Path, code: str, message: str
) -> None:
    with pytest.raises(StageError, match=message) as caught:
        _needs("net.py:make", tmp_path, Data(), code).check()
    assert "\n" not in str(caught.value)


def test_a_library_that_is_absent_is_what_the_machine_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import machine
    from pipeline.settings import Settings, Student
    from stages.catalog import declare

    monkeypatch.setattr(machine, "has_module", lambda name: name != "timm")
    stages = declare(Settings(student=Student(arch="timm:resnet18")), tmp_path)
    distill = next(stage for stage in stages if stage.name == "distill")
    with pytest.raises(UnavailableError, match=r"not installed \(timm\); run pip install timm"):
        distill.requires[0].check()


NORM = "nn.BatchNorm2d(4, track_running_stats=False)"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("nn.FractionalMaxPool2d(2, 2)", r"no ONNX for .*FractionalMaxPool2d"),
        (f"{NORM}, nn.AdaptiveAvgPool2d(2)", "depends on the others of its batch"),
    ],
)
def test_a_student_that_could_not_be_exported_is_refused_before_it_is_distilled(
    layer: str, message: str, tmp_path: Path
) -> None:
    layers = f"nn.Conv2d(1, 4, 3), {layer}, nn.Flatten(), nn.Linear(16, 10)"
    code = f"from torch import nn\ndef make():\n    return nn.Sequential({layers})\n"
    with pytest.raises(StageError, match=f"^student.arch: could not be exported .*{message}"):
        _needs("net.py:make", tmp_path, Data(), code).check()

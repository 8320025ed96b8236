"""The architecture of the teacher, as the settings or its weights say it."""

from pathlib import Path

import pytest

from pipeline.errors import SettingsFault
from pipeline.settings import Student, Teacher
from stages.teacher_arch import student_arch, teacher_arch

ROOT = Path("/project")


@pytest.mark.parametrize(
    ("arch", "weights", "expected"),
    [
        ("wrn16-1", None, "wrn16-1"),
        ("net.py:make", "t.pth", "net.py:make"),
        ("resnet14", "timm:resnet18.a1_in1k", "timm:resnet18"),
        ("timm:resnet18", "timm:resnet18.a1_in1k", "timm:resnet18"),
        ("resnet14", "torchvision:resnet18.IMAGENET1K_V1", "torchvision:resnet18"),
        ("torchvision:resnet50", "torchvision:DEFAULT", "torchvision:resnet50"),
    ],
)
def test_weights_by_name_bring_their_architecture(
    arch: str, weights: str | None, expected: str
) -> None:
    assert teacher_arch(Teacher(arch=arch, weights=weights), ROOT) == expected


def test_another_architecture_contradicts_the_name() -> None:
    teacher = Teacher(arch="wrn16-1", weights="timm:resnet18.a1_in1k")
    with pytest.raises(SettingsFault) as caught:
        teacher_arch(teacher, ROOT)
    ((key, wrong, remedy),) = caught.value.faults
    assert key == ("teacher", "arch")
    assert "(wrn16-1; timm:resnet18.a1_in1k is of timm:resnet18)" in wrong
    assert remedy == "leave teacher.arch out"


def test_the_student_s_default_gives_way_too() -> None:
    assert student_arch(Student(weights="timm:resnet18"), ROOT) == "timm:resnet18"
    with pytest.raises(SettingsFault, match=r"contradicts student\.weights"):
        student_arch(Student(arch="resnet20", weights="timm:resnet18"), ROOT)


def test_before_a_repository_is_there_the_settings_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert teacher_arch(Teacher(weights="hf:owner/net"), ROOT) == "resnet14"

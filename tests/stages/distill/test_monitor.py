"""The monitor measures the student on held-out images, and changes nothing of the run."""

from pathlib import Path

import msgspec
import pytest
import torch

from models.classifier import Classifier
from pipeline.errors import StageError
from pipeline.settings import Data
from stages.distill import monitor
from stages.distill.metrics import Window
from tests.stages.tiny import TinyRun, card, resnet8, run_stages, settings

CPU = torch.device("cpu")


def test_it_measures_top1_on_the_held_out_images() -> None:
    student = Classifier(resnet8(), (0.3,), (0.4,))
    measure = monitor.open_monitor(Data(), None, card(), student, CPU)
    assert 0.0 <= measure() <= 0.4
    with torch.no_grad():
        student.backbone.fc.bias[4] += 1e6  # type: ignore[union-attr, operator, index]
    assert measure() == pytest.approx(0.1, abs=0.05)


def test_classes_that_are_not_the_teachers_are_refused() -> None:
    student = Classifier(resnet8(), (0.3,), (0.4,))
    other = card(classes=tuple("abcdefghij"))
    with pytest.raises(StageError, match=r"distill.monitor: the classes of \[data\] are not"):
        monitor.open_monitor(Data(), None, other, student, CPU)


def test_a_monitored_run_leaves_the_same_student_and_its_accuracy_over_time(
    tiny: TinyRun, tmp_path: Path
) -> None:
    watched = run_stages(settings({"distill": {"monitor": "held-out"}}), tmp_path, count=2)
    for name in ("distill/student", "distill/generator", "distill/ema_generator", "distill/bank"):
        assert watched.path(name).read_bytes() == tiny.path(name).read_bytes(), name
    lines = watched.path("distill/curves").read_bytes().splitlines()
    top1 = [msgspec.json.decode(line, type=Window).student_top1 for line in lines]
    assert len(top1) == 40
    assert None not in top1
    assert watched.metrics("distill")["monitor_top1_last"] == top1[-1]
    stage = next(stage for stage in watched.stages if stage.name == "distill")
    assert "data.source" in stage.settings
    plain = next(stage for stage in tiny.stages if stage.name == "distill")
    assert not [name for name in plain.settings if name.startswith("data")]

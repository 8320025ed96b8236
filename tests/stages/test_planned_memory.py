"""What a plan says of training's memory is what the stages reckon with when they begin."""

from pathlib import Path

import msgspec
import pytest
import torch

from pipeline import machine
from pipeline.errors import StageError
from pipeline.settings import Settings
from pipeline.stage import Stage
from stages import planned_memory
from stages.catalog import declare
from stages.distill import step_memory
from stages.distill.distributed.group import Group
from stages.distill.job import Job, build_trainer
from stages.training import memory
from tests.stages import tiny

PEAK_BYTES = 2**29


@pytest.fixture(autouse=True)
def _same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process hold the same whenever it is asked."""
    monkeypatch.setattr(machine, "peak_memory_bytes", lambda: PEAK_BYTES)


def _stage(name: str, settings: Settings, root: Path) -> Stage:
    return next(stage for stage in declare(settings, root) if stage.name == name)


def test_a_plan_names_what_the_stage_reckons_with(tmp_path: Path) -> None:
    settings = tiny.settings({"distill": {"accumulation_steps": 4}})
    planned = planned_memory.of_stage(_stage("distill", settings, tmp_path), settings)
    job = Job(
        options=settings.distill,
        seed=0,
        student_arch=settings.student.arch,
        teacher_code=None,
        student_code=None,
    )
    trainer, _ = build_trainer(job, tiny.weights_file(tmp_path / "t.safetensors"), Group())
    estimate = step_memory.of_trainer(trainer)
    assert estimate is not None
    assert planned.images == trainer.micro_batch == 8
    assert planned.step_bytes == estimate.total(8)
    assert planned.setting is None


@pytest.mark.parametrize(
    ("name", "setting", "values"),
    [
        ("teacher", "teacher.batch_size = 32", {"teacher": {"batch_size": 32}}),
        ("distill", "distill.accumulation_steps = 2", {"distill": {"accumulation_steps": 2}}),
    ],
)
def test_what_fits_a_smaller_machine_is_named_and_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, setting: str, values: tiny.Values
) -> None:
    settings = tiny.settings()
    stage = _stage(name, settings, tmp_path)
    step_bytes = planned_memory.of_stage(stage, settings).step_bytes
    monkeypatch.setattr(memory, "available_bytes", lambda _: step_bytes - 1)
    planned = planned_memory.of_stage(stage, settings)
    assert planned.setting == setting
    assert planned.bound_bytes == planned.available_bytes == step_bytes - 1
    assert (planned.image_size_px, planned.fitting_image_size_px) == (8, 7)
    assert planned_memory.of_stage(stage, tiny.settings(values)).step_bytes < step_bytes
    monkeypatch.setattr(memory, "available_bytes", lambda _: PEAK_BYTES)
    planned = planned_memory.of_stage(stage, settings)
    assert (planned.fitting_images, planned.setting) == (0, None)


def test_a_batch_that_no_steps_divide_names_no_setting() -> None:
    options = msgspec.structs.replace(Settings().distill, batch_size=30)
    assert step_memory.remedy(options, 16) == "distill.accumulation_steps = 2"
    assert step_memory.remedy(options, 8) == "distill.accumulation_steps = 5"
    assert step_memory.remedy(options, 1) is None


def test_images_of_a_teacher_without_data_are_those_of_its_weights(tmp_path: Path) -> None:
    tiny.weights_file(tmp_path / "teacher.safetensors")
    settings = tiny.settings(
        {"teacher": {"weights": "teacher.safetensors"}, "validate": {"images": "bank"}}
    )
    stage = _stage("distill", settings, tmp_path)
    assert planned_memory.may_be_large(stage, settings)
    assert planned_memory.of_stage(stage, settings).image_size_px == 8
    assert not planned_memory.trains(_stage("teacher", settings, tmp_path), settings)


def test_steps_of_many_pixels_are_worth_an_estimate(tmp_path: Path) -> None:
    settings = Settings()
    stage = _stage("distill", settings, tmp_path)
    assert not planned_memory.may_be_large(stage, settings)
    large = msgspec.convert({"data": {"source": "food101"}}, Settings)
    assert planned_memory.may_be_large(stage, large)
    parts = {"data": {"source": "food101"}, "distill": {"accumulation_steps": 32}}
    assert not planned_memory.may_be_large(stage, msgspec.convert(parts, Settings))


def test_a_network_without_shapes_and_images_without_classes_have_no_estimate(
    tmp_path: Path,
) -> None:
    (tmp_path / "net.py").write_text(
        """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(64, 10)
    def forward(self, x):
        return self.layer(x.flatten(1)) * x.max().item()
def make():
    return Net()
"""
    )
    settings = tiny.settings({"teacher": {"arch": "net.py:make"}})
    for name, archs in (("teacher", "net.py:make"), ("distill", "net.py:make, resnet8")):
        with pytest.raises(StageError, match=rf"shapes alone .* \({archs}\); madpipe run all --sm"):
            planned_memory.of_stage(_stage(name, settings, tmp_path), settings)
    empty = msgspec.convert({"data": {"source": "folder", "root": "no"}}, Settings)
    with pytest.raises(StageError, match=r"^teacher: has no estimate .* no classes yet \(no\)"):
        planned_memory.of_stage(_stage("teacher", empty, tmp_path), empty)


@pytest.mark.usefixtures("one_thread")
def test_several_processes_share_memory_and_batch(tmp_path: Path) -> None:
    values = {"distill": {"processes": 2, "method": "mad"}}
    settings = tiny.settings(values)
    planned = planned_memory.of_stage(_stage("distill", settings, tmp_path), settings)
    assert planned.images == 16
    if not torch.cuda.is_available():
        assert planned.available_bytes == machine.usable_memory_bytes() // 2


def test_the_memory_of_images_whose_sides_differ_goes_with_their_pixels(tmp_path: Path) -> None:
    data = {
        "source": "folder",
        "root": "images",
        "mean": [0.5],
        "std": [0.5],
        "classes": ["a", "b"],
    }
    bytes_of = {}
    for size in (32, (16, 64), (64, 64)):
        settings = tiny.settings({"data": {**data, "image_size_px": size}})
        planned = planned_memory.of_stage(_stage("distill", settings, tmp_path), settings)
        assert planned.image_size_px == (64 if size == (64, 64) else size)
        bytes_of[size] = planned.step_bytes
    assert abs(bytes_of[16, 64] - bytes_of[32]) < 0.2 * (bytes_of[64, 64] - bytes_of[32])

"""Windows count what happened since the last one; curves and divergences come of them."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from models.classifier import Classifier
from models.generator import Generator
from stages.distill.distributed.group import Group
from stages.distill.metrics import (
    GeneratorDivergence,
    MetricAccumulator,
    Window,
    run_metrics,
    save_curves,
)
from stages.training.device import Compute
from tests.stages.distill.tiny_training import copied_state
from tests.stages.tiny import resnet8

CPU = torch.device("cpu")


def _filled() -> MetricAccumulator:
    accumulator = MetricAccumulator(3, CPU)
    for loss in (1.0, 3.0):
        accumulator.add_generator_step(torch.tensor(loss))
    teacher_BK = torch.tensor([[9.0, 0, 0], [9, 0, 0], [0, 9, 0], [9, 0, 0]])
    student_BK = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 9, 0], [0, 0, 9]])
    accumulator.add_batch(teacher_BK)
    accumulator.add_student_step(torch.tensor(0.5), student_BK, teacher_BK)
    accumulator.add_student_step(torch.tensor(1.5), teacher_BK, teacher_BK)
    return accumulator


def test_a_window_has_means_shares_and_entropy() -> None:
    window = _filled().read(7, {"divergence_generator": 0.25}, 0.5)
    assert window.round == 7
    assert window.generator_loss == 2.0
    assert window.student_loss == 1.0
    assert window.agreement == (2 + 4) / 8
    assert window.largest_class_share == 0.75
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(3)
    assert window.class_entropy == pytest.approx(entropy)
    assert (window.divergence_generator, window.divergence_ema, window.student_top1) == (
        0.25,
        None,
        0.5,
    )


def test_reading_begins_a_new_window() -> None:
    accumulator = _filled()
    accumulator.read(1, {}, None)
    window = accumulator.read(2, {}, None)
    assert (window.student_loss, window.agreement, window.largest_class_share) == (0, 0, 0)


def test_a_half_full_window_goes_on_from_its_state() -> None:
    accumulator, again = _filled(), MetricAccumulator(3, CPU)
    again.load_state_dict({name: value.clone() for name, value in accumulator.state_dict().items()})
    assert again.read(1, {}, None) == accumulator.read(1, {}, None)


def test_a_loss_that_is_not_finite_shows() -> None:
    accumulator = MetricAccumulator(2, CPU)
    accumulator.add_generator_step(torch.tensor(math.nan))
    assert math.isnan(accumulator.read(1, {}, None).generator_loss)


def test_what_was_not_measured_is_not_written() -> None:
    window = _filled().read(1, {}, None)
    assert "divergence_ema" not in msgspec.to_builtins(window)
    assert msgspec.convert(msgspec.to_builtins(window), Window) == window


def _window(number: int, **more: Any) -> Window:
    return Window(
        round=number,
        student_loss=1.0 / number,
        generator_loss=-1.0,
        agreement=0.5,
        class_entropy=0.9,
        largest_class_share=0.2,
        **more,
    )


def test_the_curves_have_a_line_for_every_window(tmp_path: Path) -> None:
    windows = [_window(1, divergence_generator=0.25), _window(2, student_top1=0.5)]
    save_curves(tmp_path / "curves.jsonl", windows)
    lines = (tmp_path / "curves.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["round"] for line in lines] == [1, 2]
    assert "student_top1" not in json.loads(lines[0])
    assert [msgspec.json.decode(line, type=Window) for line in lines] == windows


def test_accuracy_over_time_has_a_mean_a_variance_a_best_and_a_last() -> None:
    metrics = run_metrics(
        [_window(i + 1, student_top1=top1) for i, top1 in enumerate((0.2, 0.8, 0.5))]
    )
    assert metrics["monitor_top1_mean"] == pytest.approx(0.5)
    assert metrics["monitor_top1_variance"] == pytest.approx(0.06)
    assert (metrics["monitor_top1_best"], metrics["monitor_top1_last"]) == (0.8, 0.5)


def test_divergences_are_means_over_the_windows_that_measured_them() -> None:
    metrics = run_metrics(
        [_window(1, divergence_ema=0.2), _window(2), _window(3, divergence_ema=0.4)]
    )
    assert metrics["divergence_ema"] == pytest.approx(0.3)
    assert "divergence_generator" not in metrics


def test_without_a_monitor_there_is_no_accuracy() -> None:
    assert not [name for name in run_metrics([_window(1)]) if name.startswith("monitor")]
    assert run_metrics([]) == {}


def _student_and_generator() -> tuple[Classifier, Generator]:
    student = Classifier(resnet8(), (0.3,), (0.4,)).train()
    return student, Generator(noise_dim=3, image_size_px=8, channels=1, width=8).train()


def _divergence(student: Classifier, generator: Generator) -> GeneratorDivergence:
    return GeneratorDivergence(student, {"generator": generator}, Compute(CPU, "fp32"), Group())


def test_no_step_is_no_divergence_and_a_step_is_one() -> None:
    student, generator = _student_and_generator()
    divergence = _divergence(student, generator)
    before = divergence.predict()
    assert divergence.between(before, divergence.predict())["divergence_generator"].item() == 0.0
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    assert divergence.between(before, divergence.predict())["divergence_generator"].item() > 1e-6


def test_measuring_the_divergence_changes_nothing() -> None:
    student, generator = _student_and_generator()
    divergence = _divergence(student, generator)
    torch.manual_seed(5)
    rng_state = torch.get_rng_state()
    before = [copied_state(student), copied_state(generator)]
    divergence.predict()
    for state, network in zip(before, (student, generator), strict=True):
        after = network.state_dict()
        assert all(torch.equal(state[name], after[name]) for name in state)
        assert network.training
    assert torch.equal(torch.get_rng_state(), rng_state)


def test_a_teacher_is_at_fault_for_sound_images_alone() -> None:
    accumulator = MetricAccumulator(2, CPU)
    x_BCHW = torch.full((3, 1, 2, 2), 0.5)
    x_BCHW[2] = math.nan
    teacher_BK = torch.tensor([[1.0, 2.0], [math.nan, 2.0], [math.nan, math.nan]])
    accumulator.add_teacher(x_BCHW, teacher_BK)
    assert accumulator.peek(1).teacher_faults == 1
    assert accumulator.read(1, {}, None).teacher_faults == 1
    assert accumulator.read(2, {}, None).teacher_faults == 0

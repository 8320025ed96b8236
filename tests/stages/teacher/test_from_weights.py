"""A teacher where there are no labelled images: its card, or settings in its place."""

from pathlib import Path

import pytest
import torch

from pipeline.errors import StageError, UsageError
from pipeline.settings import Data
from stages.data.datasets import STATISTICS
from stages.networks import card as cards
from stages.teacher.from_weights import describe
from tests.stages.tiny import TinyRun, card, resnet8, run_stages, settings, weights_file


def test_a_file_with_its_card_needs_no_settings(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "t.safetensors")
    assert describe(path, "resnet8", Data()) == card()


def test_a_card_of_another_architecture_is_refused(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "t.safetensors")
    with pytest.raises(StageError, match=r"contradicts the card .*resnet14, not resnet8"):
        describe(path, "resnet14", Data())


def test_a_card_of_another_size_is_refused_where_the_settings_say_one(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "t.safetensors", image_size_px=8, width_px=12)
    for size in (None, (8, 12)):
        assert describe(path, "resnet8", Data(image_size_px=size)).size_px == (8, 12)
    wrong = r"^data\.image_size_px: .* records \(8, not 8x12\); set data\.image_size_px = \[8, 12\]"
    with pytest.raises(StageError, match=wrong):
        describe(path, "resnet8", Data(image_size_px=8))


def test_a_bare_file_is_described_by_the_settings(tmp_path: Path) -> None:
    torch.save(resnet8().state_dict(), tmp_path / "t.pth")
    with pytest.raises(UsageError, match=r"data\.image_size_px: is needed"):
        describe(tmp_path / "t.pth", "net.py:make", Data())
    data = Data(image_size_px=8, mean=(0.4,), std=(0.2,))
    described = describe(tmp_path / "t.pth", "resnet8", data)
    assert (described.image_size_px, described.mean, described.num_classes) == (8, (0.4,), 10)


def test_a_bare_file_has_the_statistics_of_the_source(tmp_path: Path) -> None:
    torch.save(resnet8(channels=3, classes=5).state_dict(), tmp_path / "t.pth")
    described = describe(tmp_path / "t.pth", "resnet8", Data(source="folder", image_size_px=32))
    assert (described.mean, described.std) == STATISTICS["imagenet"]
    assert described.origins["mean"].kind == "settings"


def test_a_wrapped_networks_own_statistics_come_before_the_sources(tmp_path: Path) -> None:
    state = {f"1.{name}": t for name, t in resnet8(channels=3).state_dict().items()}
    state |= {"0.mean": torch.full((3,), 0.25), "0.std": torch.full((3,), 0.5)}
    torch.save(state, tmp_path / "t.pth")
    data = Data(source="folder", image_size_px=32)
    described = describe(tmp_path / "t.pth", "resnet8", data)
    assert (described.mean, described.std) == ((0.25,) * 3, (0.5,) * 3)
    chosen = Data(source="folder", image_size_px=32, mean=(0.1,) * 3, std=(1.0,) * 3)
    assert describe(tmp_path / "t.pth", "resnet8", chosen).mean == (0.1,) * 3


def test_statistics_of_other_channels_are_no_statistics(tmp_path: Path) -> None:
    torch.save(resnet8(channels=3).state_dict(), tmp_path / "t.pth")
    described = describe(tmp_path / "t.pth", "resnet8", Data(image_size_px=32))
    assert (described.mean, described.std) == STATISTICS["cifar10"]
    assert "mean" in described.assumed


def test_without_images_a_bare_file_is_taken_and_its_statistics_are_noted(tmp_path: Path) -> None:
    torch.save(resnet8(channels=3, classes=5).state_dict(), tmp_path / "t.pth")
    chosen = settings(
        {
            "data": {"source": "folder", "image_size_px": 32},
            "teacher": {"arch": "resnet8", "weights": str(tmp_path / "t.pth")},
            "validate": {"images": "bank"},
        }
    )
    run = run_stages(chosen, tmp_path, count=1)
    described = cards.read(run.path("teacher/weights"))
    assert described is not None
    assert described.mean == STATISTICS["imagenet"][0]
    assert any("data.source = folder" in note for note in run.notes())


@pytest.mark.slow
def test_the_whole_pipeline_runs_without_a_labelled_image(tiny: TinyRun, tmp_path: Path) -> None:
    chosen = settings(
        {
            "teacher": {"weights": str(tiny.path("teacher/weights"))},
            "validate": {"images": "bank", "teacher_engine": False},
        }
    )
    tiny_run = run_stages(chosen, tmp_path)
    assert not [name for stage in tiny_run.stages for name in stage.settings if name == "data"]
    metrics = tiny_run.metrics("validate")
    assert "engine_bank_agreement" in metrics
    assert "engine_top1" not in metrics
    assert cards.read(tiny_run.path("teacher/weights")) == cards.read(tiny.path("teacher/weights"))
    assert any("not checked" in note for note in tiny_run.notes())

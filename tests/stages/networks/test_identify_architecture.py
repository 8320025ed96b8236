"""Identifying a network by the names and shapes of its tensors."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from models import registry
from pipeline.errors import StageError
from stages.networks import class_count, identify_architecture
from stages.networks.identify_architecture import identify


def _state(arch: str, *, channels: int = 3, classes: int = 10) -> dict[str, Tensor]:
    network = registry.create(arch, in_channels=channels, num_classes=classes, code=None)
    return network.state_dict()


@pytest.mark.parametrize("arch", list(registry.ARCHITECTURES))
def test_every_network_of_the_registry_is_identified_by_its_tensors(arch: str) -> None:
    state = _state(arch, channels=1, classes=7)
    identified = identify(state, channels=1, num_classes=7, path=Path("w.pth"))
    assert identified == arch


@pytest.mark.parametrize(
    "arch",
    [
        "torchvision:resnet18",
        "torchvision:resnet50",
        "torchvision:resnext50_32x4d",
        "torchvision:densenet121",
    ],
)
def test_a_network_of_torchvision_is_not_confused_with_the_one_for_small_images(arch: str) -> None:
    identified = identify(_state(arch), channels=3, num_classes=10, path=Path("w.pth"))
    assert identified == arch


def test_no_two_networks_of_torchvision_have_the_same_tensors() -> None:
    archs = (*identify_architecture._TORCHVISION, *identify_architecture._RARER)
    shapes = [class_count.marked_shapes(arch, channels=3) for arch in archs]
    assert len({tuple(sorted(one.values())) for one in shapes}) == len(archs)


def test_a_network_for_small_images_with_the_names_of_torchvision_is_identified() -> None:
    state = {
        name.replace("shortcut", "downsample").replace("linear", "fc"): tensor
        for name, tensor in _state("resnet18").items()
    }
    identified = identify(state, channels=3, num_classes=10, path=Path("w.pth"))
    assert identified == "resnet18"


def test_a_file_from_before_batches_were_counted_is_identified() -> None:
    state = {n: t for n, t in _state("wrn16-1").items() if not n.endswith("num_batches_tracked")}
    assert identify(state, channels=3, num_classes=10, path=Path("w")) == "wrn16-1"


def test_where_several_fit_all_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = dict(registry.ARCHITECTURES)
    rows["twin"] = rows["wrn16-1"]
    monkeypatch.setattr(registry, "ARCHITECTURES", rows)
    with pytest.raises(StageError, match=r"fits several .*\(wrn16-1, twin\); .*--arch"):
        identify(_state("wrn16-1"), channels=3, num_classes=10, path=Path("w"))


def test_tensors_of_no_known_network_name_the_nearest() -> None:
    state = _state("resnet20")
    state["extra"] = torch.zeros(1)
    with pytest.raises(
        StageError,
        match=r"nearest resnet20: 1 of \d+ tensors differ, extra; resnet20-pad: .*--arch",
    ):
        identify(state, channels=3, num_classes=10, path=Path("w.pth"))


def test_the_spelling_of_a_usual_repository_of_networks_for_cifar_is_identified() -> None:
    state = {
        name.replace("stage", "module.layer").replace("fc", "linear"): tensor
        for name, tensor in _state("resnet20-pad").items()
    }
    assert identify(state, channels=3, num_classes=None, path=Path("w")) == "resnet20-pad"

"""Identifying a network by its card or by the names and shapes of its tensors."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from models import registry
from pipeline.errors import StageError, UsageError
from stages.networks import weights
from stages.networks.identify_architecture import card_for, identify
from tests.stages.tiny import card, resnet8, weights_file


def _state(arch: str, *, channels: int = 3, classes: int = 10) -> dict[str, Tensor]:
    network = registry.create(arch, in_channels=channels, num_classes=classes, code=None)
    return network.state_dict()


@pytest.mark.parametrize("arch", list(registry.ARCHITECTURES))
def test_every_network_of_the_registry_is_identified_by_its_tensors(arch: str) -> None:
    state = _state(arch, channels=1, classes=7)
    identified = identify(state, channels=1, num_classes=7, path=Path("w.pth"))
    assert identified == arch


@pytest.mark.parametrize(
    "arch", ["torchvision:resnet18", "torchvision:resnet50", "torchvision:densenet121"]
)
def test_a_network_of_torchvision_is_not_confused_with_the_one_for_small_images(arch: str) -> None:
    identified = identify(_state(arch), channels=3, num_classes=10, path=Path("w.pth"))
    assert identified == arch


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


def test_a_files_own_card_comes_first(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "w.safetensors")
    described = card_for(
        path, weights.read(path, "here"), arch=None, num_classes=None, image_size_px=None
    )
    assert described == card()


def test_a_file_without_a_card_is_identified_by_shapes_and_the_image_size(tmp_path: Path) -> None:
    described = card_for(
        tmp_path / "w.pth", _state("resnet20"), arch=None, num_classes=None, image_size_px=32
    )
    assert (described.arch, described.channels, described.num_classes) == ("resnet20", 3, 10)
    assert described.image_size_px == 32
    assert described.mean == (0.4914, 0.4822, 0.4465)


def test_images_of_no_known_source_are_centred(tmp_path: Path) -> None:
    state = _state("resnet8", channels=2, classes=4)
    described = card_for(tmp_path / "w.pth", state, arch=None, num_classes=None, image_size_px=16)
    assert (described.mean, described.std) == ((0.5, 0.5), (0.5, 0.5))
    assert described.classes == ("0", "1", "2", "3")


def test_the_image_size_is_needed_where_the_file_lacks_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--image-size: is needed"):
        card_for(
            tmp_path / "w.pth", _state("resnet8"), arch=None, num_classes=None, image_size_px=None
        )


def test_an_architecture_that_is_named_is_not_looked_for(tmp_path: Path) -> None:
    state = _state("resnet8", classes=5) | {"extra": torch.zeros(1)}
    described = card_for(
        tmp_path / "w.pth", state, arch="resnet8", num_classes=None, image_size_px=8
    )
    assert (described.arch, described.num_classes) == ("resnet8", 5)


def test_a_head_that_is_a_convolution_or_sorts_before_other_matrices_counts_the_classes(
    tmp_path: Path,
) -> None:
    for arch in ("torchvision:squeezenet1_1", "torchvision:convnext_tiny"):
        with torch.device("meta"):
            state = dict(sorted(_state(arch, classes=6).items()))
        described = card_for(
            tmp_path / "w.pth", state, arch=arch, num_classes=None, image_size_px=64
        )
        assert described.num_classes == 6


def test_the_spelling_of_a_usual_repository_of_networks_for_cifar_is_identified() -> None:
    state = {
        name.replace("stage", "module.layer").replace("fc", "linear"): tensor
        for name, tensor in _state("resnet20-pad").items()
    }
    assert identify(state, channels=3, num_classes=None, path=Path("w")) == "resnet20-pad"


def test_a_classes_option_that_contradicts_the_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="nearest resnet8: "):
        card_for(
            tmp_path / "w.pth", resnet8().state_dict(), arch=None, num_classes=11, image_size_px=8
        )

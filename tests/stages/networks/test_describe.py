"""The card of a weights file: its own, what the user says, and the usual for the rest."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from models import registry
from pipeline.errors import UsageError
from stages.data.datasets import STATISTICS
from stages.networks import weights
from stages.networks.describe import card_for
from stages.networks.facts import Facts
from tests.stages.tiny import card, resnet8, weights_file


def _state(arch: str, *, channels: int = 3, classes: int = 10) -> dict[str, Tensor]:
    network = registry.create(arch, in_channels=channels, num_classes=classes, code=None)
    return network.state_dict()


def test_a_files_own_card_comes_first(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "w.safetensors")
    assert card_for(path, weights.read(path, "here"), Facts()) == card()


@pytest.mark.parametrize("classes", [5, 10, 200])
@pytest.mark.parametrize(
    ("arch", "scaling", "statistics"),
    [("torchvision:resnet18", (224, 256), "imagenet"), ("resnet20", (32, None), "cifar10")],
)
def test_what_nobody_said_is_usual_for_the_architecture_whatever_the_classes(
    tmp_path: Path, arch: str, scaling: tuple[int, int | None], statistics: str, classes: int
) -> None:
    described = card_for(tmp_path / "w.pth", _state(arch, classes=classes), Facts())
    assert (described.arch, described.num_classes) == (arch, classes)
    assert (described.image_size_px, described.resize_px) == scaling
    assert (described.mean, described.std) == STATISTICS[statistics]
    assert {"image_size_px", "mean", "std", "classes"} <= set(described.assumed)
    lines = " ".join(described.assumptions({"mean": "--mean", "classes": "--labels"}))
    first = f"{described.mean[0]:.4g},"
    assert f"image_size_px {described.image_size_px}, --mean {first}" in lines
    assert "--labels 0,1,2,...,4" in lines or classes != 5


def test_what_is_said_is_not_assumed(tmp_path: Path) -> None:
    facts = Facts(
        image_size_px=64, mean=(0.5,), std=(0.1, 0.2, 0.3), classes=("a", "b"), resize_px=80
    )
    state = _state("torchvision:resnet18", classes=2)
    described = card_for(tmp_path / "w.pth", state, facts)
    assert (described.mean, described.std) == ((0.5, 0.5, 0.5), (0.1, 0.2, 0.3))
    assert (described.image_size_px, described.resize_px) == (64, 80)
    assert described.classes == ("a", "b")
    assert described.assumed == ("interpolation",)
    assert described.origins["mean"].kind == "option"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (Facts(mean=(0.1, 0.2), std=(1.0, 1.0)), r"--mean: .*2 and 2 numbers, 3 channels"),
        (Facts(classes=("a",)), r"--labels: names 1 classes, the network has 4"),
    ],
)
def test_what_does_not_fit_the_network_is_refused(
    tmp_path: Path, facts: Facts, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        card_for(tmp_path / "w.pth", _state("resnet20", classes=4), facts)


def test_what_contradicts_the_card_of_the_file_is_refused(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r"--mean: contradicts the card"):
        card_for(path, weights.read(path, "here"), Facts(mean=(0.5,), std=(0.5,)))


def test_a_function_may_have_moved_with_its_file(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "w.safetensors", arch="net.py:make")
    described = card_for(path, weights.read(path, "here"), Facts(arch="elsewhere/net.py:make"))
    assert described.arch == "elsewhere/net.py:make"


def test_images_without_usual_statistics_are_centred(tmp_path: Path) -> None:
    described = card_for(tmp_path / "w.pth", _state("resnet8", channels=2, classes=4), Facts())
    assert (described.mean, described.std) == ((0.5, 0.5), (0.5, 0.5))


def test_a_network_of_the_users_needs_its_size(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--image-size: is needed"):
        card_for(tmp_path / "w.pth", _state("resnet8"), Facts(arch="net.py:make", num_classes=10))


def test_a_head_that_is_a_convolution_or_sorts_before_other_matrices_counts_the_classes(
    tmp_path: Path,
) -> None:
    for arch in ("torchvision:squeezenet1_1", "torchvision:convnext_tiny"):
        with torch.device("meta"):
            state = dict(sorted(_state(arch, classes=6).items()))
        described = card_for(tmp_path / "w.pth", state, Facts(arch=arch, image_size_px=64))
        assert described.num_classes == 6


def test_a_classes_option_that_contradicts_the_weights_is_refused(tmp_path: Path) -> None:
    for arch in (None, "resnet8"):
        facts = Facts(arch=arch, num_classes=11)
        with pytest.raises(
            UsageError, match=r"contradicts the file \(11; w.pth has a head for 10\)"
        ):
            card_for(tmp_path / "w.pth", resnet8().state_dict(), facts)


def test_names_of_other_classes_than_the_networks_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": _state("resnet20", classes=5), "classes": ["a", "b", "c"]}, path)
    described = card_for(path, weights.read(path, "here"), Facts())
    assert described.classes == ("0", "1", "2", "3", "4")
    assert "the file names 3 classes, the network has 5" in " ".join(described.assumptions({}))


@pytest.mark.parametrize(("mean", "channels"), [((0.5,), 1), ((0.1, 0.2, 0.3), 3)])
def test_a_network_of_matrices_has_the_channels_that_its_mean_has(
    mean: tuple[float, ...], channels: int, tmp_path: Path
) -> None:
    code = tmp_path / "net.py"
    layers = f"nn.Flatten(), nn.Linear({channels * 64}, 5)"
    code.write_text(f"from torch import nn\ndef make(): return nn.Sequential({layers})\n", "utf-8")
    tensors = {"1.weight": torch.zeros(5, channels * 64), "1.bias": torch.zeros(5)}
    facts = Facts(arch="net.py:make", image_size_px=8, mean=mean, std=mean)
    described = card_for(tmp_path / "w.pth", tensors, facts, code=code)
    assert (described.channels, described.mean, described.num_classes) == (channels, mean, 5)


def test_one_number_may_be_the_mean_of_all_channels(tmp_path: Path) -> None:
    facts = Facts(arch="resnet8", image_size_px=8, mean=(0.5,))
    assert card_for(tmp_path / "w.pth", _state("resnet8"), facts).channels == 3

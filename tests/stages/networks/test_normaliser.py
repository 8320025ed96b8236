"""Mean and std that networks, and the files of wrapped ones, have of their own."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import transforms
from torchvision.transforms import v2

from stages.networks import adapt, normaliser, weights
from stages.networks.describe import card_for, with_statistics
from stages.networks.factory import restore
from stages.networks.facts import Facts
from tests.stages.tiny import card, resnet8

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.1)
NET = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, num_classes=5):
        super().__init__()
        self.register_buffer("{}", torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), persistent={})
        self.register_buffer("{}", torch.tensor([0.25, 0.2, 0.1]).view(3, 1, 1), persistent={})
        self.fc = nn.Linear(3, num_classes)
    def forward(self, x):
        return self.fc(((x - self.{}) / self.{}).mean((2, 3)))
"""


@pytest.mark.parametrize("scale", [1.0, 255.0])
@pytest.mark.parametrize(
    ("prefix", "mean", "std"),
    [("1.", "0.mean", "0.std"), ("model.", "mu", "sigma"), ("", "pixel_mean", "pixel_std")],
)
def test_a_wrapped_networks_file_says_its_statistics(
    tmp_path: Path, prefix: str, mean: str, std: str, scale: float
) -> None:
    network = resnet8(channels=3, classes=5)
    state = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    state |= {mean: torch.tensor(MEAN) * scale, std: torch.tensor(STD).view(3, 1, 1) * scale}
    torch.save(state, tmp_path / "w.pth")
    tensors = weights.read(tmp_path / "w.pth", "here")
    card = card_for(tmp_path / "w.pth", tensors, Facts())
    assert card.arch == "resnet8"
    assert card.mean == pytest.approx(MEAN)
    assert card.std == pytest.approx(STD)
    assert f"the file's {mean} and {std}" in " ".join(card.assumptions({}))
    restore(card, tensors, code=None, arch_place="a", weights_place="w")
    chosen = card_for(tmp_path / "w.pth", tensors, Facts(mean=(0.1,), std=(1.0,)))
    assert chosen.mean == (0.1, 0.1, 0.1)


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("names", [("mean", "std"), ("m", "s")])
def test_a_network_that_normalises_gets_images_that_are_not(
    tmp_path: Path, names: tuple[str, str], *, is_kept: bool
) -> None:
    mean, std = names
    code = tmp_path / "net.py"
    code.write_text(NET.format(mean, is_kept, std, is_kept, mean, std))
    torch.save({"fc.weight": torch.ones(5, 3), "fc.bias": torch.ones(5)}, tmp_path / "w.pth")
    tensors = weights.read(tmp_path / "w.pth", "here")
    facts = Facts(arch=f"{code}:Net", image_size_px=8)
    card = card_for(tmp_path / "w.pth", tensors, facts)
    assert (card.mean, card.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert f"itself, by {mean} and {std}" in " ".join(card.assumptions({}))


def test_a_network_that_normalises_bytes_gets_images_from_0_to_255() -> None:
    network = nn.Module()
    network.register_buffer("mean", torch.tensor(MEAN) * 255)
    network.register_buffer("std", torch.tensor(STD) * 255)
    statistics = normaliser.in_network(network, 3)
    assert statistics is not None
    described = with_statistics(card(channels=3, mean=MEAN, std=STD), statistics)
    assert (described.mean, described.std) == ((0.0,) * 3, (1 / 255,) * 3)
    assert "by mean and std, which are of images from 0 to 255" in " ".join(
        described.assumptions({})
    )


def test_a_network_that_has_no_length_is_described(tmp_path: Path) -> None:
    code = tmp_path / "net.py"
    code.write_text(
        NET.format("mean", "True", "std", "True", "mean", "std")
        + ("class Compiled(Net):\n    def __len__(self):\n        raise TypeError('no length')\n")
    )
    facts = Facts(arch=f"{code}:Compiled", image_size_px=8, num_classes=5)
    card = card_for(tmp_path / "w.pth", {"fc.weight": torch.ones(5, 3)}, facts)
    assert card.mean == (0.0, 0.0, 0.0)


def test_statistics_of_batches_and_of_other_channels_are_none() -> None:
    assert normaliser.in_network(nn.Sequential(nn.BatchNorm2d(3)), 3) is None
    assert normaliser.in_file({"mean": torch.ones(4), "std": torch.ones(4)}, 3) is None
    assert normaliser.in_file({"mean": torch.ones(3), "std": torch.zeros(3)}, 3) is None
    assert normaliser.in_file({"m": torch.ones(1), "s": torch.ones(1)}, 1) is None


@pytest.mark.parametrize("kind", [transforms.Normalize, v2.Normalize])
def test_torchvisions_normalize_is_seen_and_replaced_by_what_exports(
    kind: type[nn.Module],
) -> None:
    network = nn.Sequential(kind(MEAN, STD), nn.Flatten())
    statistics = normaliser.in_network(network, 3)
    assert statistics is not None
    assert (statistics.mean, statistics.std) == (MEAN, STD)
    x_BCHW = torch.rand(2, 3, 4, 4)
    expected_BC = network(x_BCHW)
    adapt.replace_normalize(network)
    assert not type(network[0]).__module__.startswith("torchvision")
    assert torch.equal(network(x_BCHW), expected_BC)

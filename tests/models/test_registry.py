"""The names of networks."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models import registry
from models.registry import UnknownArchitecture

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("arch", list(registry.ARCHITECTURES))
def test_every_name_of_the_table_builds_a_classifier(arch: str) -> None:
    network = registry.create(arch, in_channels=1, num_classes=7, code=None)
    assert network.eval()(torch.rand(2, 1, 8, 8)).shape == (2, 7)


@pytest.mark.parametrize("arch", list(registry.ARCHITECTURES))
@pytest.mark.parametrize(
    ("channels", "size"),
    [
        (1, (28, 28)), (3, (32, 32)), (3, (64, 64)),
        (2, (8, 15)), (5, (9, 17)), (16, (100, 60)), (4, (1024, 8)),
    ],
)  # fmt: skip
def test_every_network_takes_images_of_any_size_and_number_of_channels(
    arch: str, channels: int, size: tuple[int, int]
) -> None:
    with torch.device("meta"):
        network = registry.create(arch, in_channels=channels, num_classes=7, code=None).eval()
        assert network(torch.rand(2, channels, *size)).shape == (2, 7)


@pytest.mark.parametrize(
    ("arch", "parameters"),
    [
        ("resnet20-pad", 269_722),
        ("resnet110-pad", 1_727_962),
        ("resnet18", 11_173_962),
        ("resnet34", 21_282_122),
        ("resnet50", 23_520_842),
        ("wrn16-1", 175_066),
        ("wrn16-2", 691_674),
        ("wrn40-1", 563_930),
        ("wrn40-2", 2_243_546),
        ("vgg11", 9_231_114),
        ("mobilenetv2", 2_236_682),
    ],
)
def test_a_network_has_as_many_parameters_as_is_published(arch: str, parameters: int) -> None:
    with torch.device("meta"):
        network = registry.create(arch, in_channels=3, num_classes=10, code=None)
    assert sum(weight.numel() for weight in network.parameters()) == parameters


def test_resnet14_has_as_many_parameters_as_its_description_says() -> None:
    network = registry.create("resnet14", in_channels=1, num_classes=10, code=None)
    assert round(sum(weight.numel() for weight in network.parameters()) / 1e6, 2) == 0.70


@pytest.mark.parametrize(
    ("arch", "file", "package"),
    [
        ("resnet8", None, None),
        ("torchvision:resnet18", None, "torchvision"),
        ("timm:resnet18.a1", None, "timm"),
        ("net.py:make", Path("net.py"), None),
        ("C:/nets/my net.py:make", Path("C:/nets/my net.py"), None),
        ("net.py", None, None),
        ("net.py:not a name", None, None),
    ],
)
def test_a_name_leads_to_its_file_or_its_library(
    arch: str, file: Path | None, package: str | None
) -> None:
    assert registry.source_file(arch) == file
    assert registry.package(arch) == package


@pytest.mark.parametrize("arch", ["resnet19", "", "net.py", "net.py:", "keras:vgg", "a:b:c"])
def test_a_name_of_no_known_form_is_refused_with_the_forms(arch: str) -> None:
    with pytest.raises(UnknownArchitecture, match=r"torchvision:NAME, timm:NAME or FILE\.py"):
        registry.check_name(arch)


def test_a_slip_of_the_pen_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownArchitecture, match="did you mean 'resnet8'"):
        registry.check_name("resnett8")


def test_the_modules_of_a_name_are_those_that_build_it() -> None:
    assert registry.code_modules("resnet8") == ("models.resnet",)
    assert registry.code_modules("torchvision:resnet18") == ("models.external",)
    assert registry.code_modules("net.py:make") == ("models.external",)


def test_asking_about_names_imports_no_torch() -> None:
    script = (
        "import sys\nfrom models import registry\nregistry.check_name('torchvision:resnet18')\n"
        "registry.check_name('net.py:make')\nsys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    "arch", ["timm:hf-hub:a/b", "timm:local-dir:.", "torchvision:../x", "transformers:a b", "timm:"]
)
def test_what_a_library_would_download_or_open_is_no_name_of_its_network(arch: str) -> None:
    with pytest.raises(UnknownArchitecture, match=f"names no network of .*{arch}"):
        registry.check_name(arch)

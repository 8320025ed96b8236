"""Networks from outside: libraries and users' own files."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from models import external, registry
from models.registry import UnknownArchitecture

PLAIN = "from torch import nn\n\n\ndef make():\n    return nn.Linear(2, 3)\n"


def _file(folder: Path, text: str = PLAIN, name: str = "net.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_function_in_a_file_gives_its_module(tmp_path: Path) -> None:
    network = external.from_file(_file(tmp_path), "make")
    assert isinstance(network, nn.Linear)


def test_the_registry_leads_to_the_file(tmp_path: Path) -> None:
    network = registry.create("net.py:make", in_channels=1, num_classes=3, code=_file(tmp_path))
    assert isinstance(network, nn.Linear)


def test_a_file_may_import_its_neighbours_under_names_that_ours_have(tmp_path: Path) -> None:
    _file(tmp_path, "WIDTH = 5\n", "models/__init__.py")
    _file(tmp_path, "from models import WIDTH\n\nDEPTH = WIDTH + 1\n", "models/sizes.py")
    _file(tmp_path, "CLASSES = 7\n", "pipeline/__init__.py")
    _file(tmp_path, "BIAS = False\n", "stages.py")
    text = (
        "from torch import nn\nfrom models.sizes import DEPTH\nfrom pipeline import CLASSES\n"
        "from stages import BIAS\n\n\ndef make():\n"
        "    return nn.Linear(DEPTH, CLASSES, bias=BIAS)\n"
    )
    before = {name: module for name, module in sys.modules.items() if name.startswith("models")}
    path = list(sys.path)
    network = external.from_file(_file(tmp_path, text), "make")
    assert isinstance(network, nn.Linear)
    assert (network.in_features, network.out_features) == (6, 7)
    assert {n: module for n, module in sys.modules.items() if n.startswith("models")} == before
    assert sys.path == path


def test_the_function_may_import_its_neighbours_only_when_called(tmp_path: Path) -> None:
    _file(tmp_path, "WIDTH = 5\n", "models/__init__.py")
    text = (
        "from torch import nn\n\n\ndef make():\n    from models import WIDTH\n"
        "    return nn.Linear(WIDTH, 3)\n"
    )
    network = external.from_file(_file(tmp_path, text), "make")
    assert isinstance(network, nn.Linear)
    assert network.in_features == 5


def test_two_files_with_helpers_of_one_name_do_not_meet(tmp_path: Path) -> None:
    widths = []
    for folder, width in (("one", 5), ("two", 6)):
        _file(tmp_path / folder, f"WIDTH = {width}\n", "sizes.py")
        text = (
            "from torch import nn\nfrom sizes import WIDTH\n\n\ndef make():\n"
            "    return nn.Linear(WIDTH, 3)\n"
        )
        network = external.from_file(_file(tmp_path / folder, text), "make")
        assert isinstance(network, nn.Linear)
        widths.append(network.in_features)
    assert widths == [5, 6]


def test_ours_are_back_also_after_a_file_that_raises(tmp_path: Path) -> None:
    ours = sys.modules["models.registry"]
    path = list(sys.path)
    with pytest.raises(UnknownArchitecture):
        external.from_file(_file(tmp_path, "raise ValueError('no')\n"), "make")
    assert sys.modules["models.registry"] is ours
    assert sys.path == path


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("raise ValueError('bad day')\n", "the file raises ValueError: bad day"),
        ("import nothing_like_this\n", "the file raises ModuleNotFoundError"),
        ("def make(:\n", "the file raises SyntaxError"),
        ("def build():\n    pass\n", "has no such function"),
        ("make = 3\n", "has no such function"),
        ("def make():\n    raise KeyError('w')\n", "the function raises KeyError: 'w'"),
        ("def make(width):\n    pass\n", r"needs an argument .*make: width\)"),
        ("import os\n\nos.stat('none')\n", r"net\.py:3: os\.stat.*relative paths start at"),
        ("import sys\n\n\ndef make():\n    sys.exit(3)\n", r"ends the program .*net\.py:5"),
        (
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('lr')\np.parse_args()",
            r"the file ends the program .*net\.py:4: .*required: lr.*__main__",
        ),
        (
            "def make():\n    raise RuntimeError('Found no NVIDIA driver')\n",
            r"net\.py:2: .*return the network on the CPU",
        ),
        ("def make():\n    return 3\n", "returns int, not a torch module"),
        ("def make():\n    pass\n", "returns NoneType, not a torch module"),
        ("from torch import nn\n\n\ndef make():\n    return nn.Linear\n", "returns type, not a"),
    ],
)
def test_a_file_that_gives_no_network_is_refused_with_the_reason(
    tmp_path: Path, text: str, wanted: str
) -> None:
    with pytest.raises(UnknownArchitecture, match=wanted) as caught:
        external.from_file(_file(tmp_path, text), "make")
    assert "net.py" in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownArchitecture, match=r"no such file \(.*none\.py\)"):
        external.from_file(tmp_path / "none.py", "make")


def test_a_classifier_of_torchvision_is_built_with_random_weights() -> None:
    network = registry.create(
        "torchvision:squeezenet1_1", in_channels=3, num_classes=4, code=None
    ).eval()
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 4)


def test_a_network_that_torchvision_does_not_have_is_refused() -> None:
    with pytest.raises(UnknownArchitecture, match=r"torchvision does not build it: .*\(resnet19\)"):
        registry.create("torchvision:resnet19", in_channels=3, num_classes=4, code=None)


@pytest.mark.parametrize(("name", "channels"), [("resnet18", 1), ("mobilenet_v2", 4)])
def test_a_network_of_torchvision_takes_other_channels_by_its_first_convolution(
    name: str, channels: int
) -> None:
    with torch.device("meta"):
        network = external.from_library("torchvision", name, in_channels=channels, num_classes=5)
        usual = external.from_library("torchvision", name, in_channels=3, num_classes=5)
        assert network.eval()(torch.zeros(1, channels, 32, 32)).shape == (1, 5)
    differing = {
        key: tensor.shape[1]
        for key, tensor in network.state_dict().items()
        if tensor.shape != usual.state_dict()[key].shape
    }
    assert list(differing.values()) == [channels]


def test_a_module_in_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    text = "from torch import nn\n\nnetwork = nn.Linear(2, 3)\n"
    network = external.from_file(_file(tmp_path, text), "network", num_classes=5)
    assert isinstance(network, nn.Linear)


def test_what_a_file_changes_for_itself_is_put_back(tmp_path: Path) -> None:
    text = (
        f"import os\nimport torch\n{PLAIN}\nos.chdir({str(tmp_path.parent)!r})\n"
        "torch.set_grad_enabled(False)\ntorch.set_default_dtype(torch.float64)\n"
        'torch.set_default_device("meta")\n'
    )
    folder, modes = Path.cwd(), torch._C._len_torch_function_stack()
    external.from_file(_file(tmp_path, text), "make")
    assert Path.cwd() == folder
    assert torch._C._len_torch_function_stack() == modes
    tensor = torch.ones(1, requires_grad=True) * 2
    assert (tensor.dtype, tensor.device.type) == (torch.float32, "cpu")
    assert tensor.requires_grad


def test_a_library_that_is_not_installed_is_refused_with_its_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UnknownArchitecture, match=r"timm is not installed .*pip install timm"):
        registry.create("timm:resnet18", in_channels=1, num_classes=4, code=None)


def test_a_function_gets_the_arguments_that_its_names_ask_for(tmp_path: Path) -> None:
    text = (
        "from torch import nn\n\n\ndef make(n_classes, in_chans, pretrained, img_size, extra=2):\n"
        "    assert not pretrained\n    return nn.Linear(in_chans * img_size, n_classes)\n"
        "\n\ndef usual(num_classes=1000):\n    return nn.Linear(1, num_classes)\n"
    )
    path = _file(tmp_path, text)
    for function, wanted in (("make", (24, 5)), ("usual", (1, 5))):
        network = external.from_file(path, function, in_channels=3, num_classes=5, image_size_px=8)
        assert isinstance(network, nn.Linear)
        assert (network.in_features, network.out_features) == wanted


def test_a_script_reads_an_empty_command_line_and_prints_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "import argparse\nimport sys\nfrom torch import nn\n"
        "p = argparse.ArgumentParser()\np.add_argument('--width', type=int, default=3)\n"
        "width = p.parse_args().width\nsys.stdout.write('reading ')\n\n\n"
        "class Loud(nn.Linear):\n    def forward(self, x):\n        print('forward')\n"
        "        return super().forward(x)\n\n\n"
        "def make():\n    print('making')\n    return Loud(2, width)\n"
    )
    network = external.from_file(_file(tmp_path, text), "make")
    assert network(torch.zeros(1, 2)).shape == (1, 3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "reading making\nforward\n"


def test_torchvision_builds_for_the_size_and_without_heads_for_training_alone() -> None:
    vit = registry.create(
        "torchvision:vit_b_32", in_channels=3, num_classes=4, code=None, image_size_px=64
    ).eval()
    assert vit(torch.rand(1, 3, 64, 64)).shape == (1, 4)
    google = registry.create("torchvision:googlenet", in_channels=3, num_classes=4, code=None)
    assert google.train()(torch.rand(2, 3, 32, 32)).shape == (2, 4)


def test_sides_that_differ_reach_what_is_made_for_them_and_are_refused_by_name(
    tmp_path: Path,
) -> None:
    sides = (64, 96)
    with pytest.raises(UnknownArchitecture, match=r"of 64x96: .*square images alone \(vit_b_32"):
        registry.create(
            "torchvision:vit_b_32", in_channels=3, num_classes=4, code=None, image_size_px=sides
        )
    plain = registry.create(
        "torchvision:squeezenet1_1", in_channels=5, num_classes=4, code=None, image_size_px=sides
    )
    assert plain.eval()(torch.rand(1, 5, *sides)).shape == (1, 4)
    text = (
        "from torch import nn\n\n\ndef make(image_size):\n"
        "    height, width = image_size\n    return nn.Linear(height, width)\n"
    )
    path = _file(tmp_path, text)
    network = external.from_file(path, "make", in_channels=3, image_size_px=sides)
    assert isinstance(network, nn.Linear)
    assert (network.in_features, network.out_features) == sides

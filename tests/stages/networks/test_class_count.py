"""Counting the classes of weights by the head of their architecture."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from models import registry
from pipeline.errors import StageError
from stages.networks import class_count


@pytest.mark.parametrize(
    "arch",
    [
        "resnet8",
        "mobilenetv2",
        "torchvision:squeezenet1_1",
        "torchvision:convnext_tiny",
        "torchvision:regnet_y_400mf",
    ],
)
def test_classes_are_counted_at_the_head_whatever_the_order_of_names(arch: str) -> None:
    network = registry.create(arch, in_channels=3, num_classes=12, code=None)
    tensors = {f"model.{name}": tensor for name, tensor in sorted(network.state_dict().items())}
    tensors["metric.total"] = torch.zeros(1)
    assert _count(arch, tensors) == 12


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the names of the operators that are called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = set[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.__name__.partition(".")[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("arch", ["resnet8", "torchvision:convnext_tiny"])
def test_the_weights_of_a_network_that_is_built_for_its_shapes_are_not_drawn(arch: str) -> None:
    with _Operators() as operators:
        assert class_count.marked_shapes(arch, channels=3)
    assert "empty" in operators.names
    assert not operators.names & {"normal_", "uniform_"}
    with class_count._Undrawn():
        assert nn.init.kaiming_normal_(tensor=torch.zeros(2, 2)).sum() == 0


def _count(arch: str, tensors: dict[str, torch.Tensor], code: Path | None = None) -> int:
    return class_count.of_weights(
        arch, tensors, channels=3, code=code, image_size_px=8, place="here"
    )


def test_a_network_of_ones_own_is_asked_or_run(tmp_path: Path) -> None:
    code = tmp_path / "net.py"
    code.write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, k):\n"
        "        super().__init__()\n        self.head = nn.Conv2d(3, k, 8)\n"
        "        self.after = nn.Linear(2, 2)\n"
        "    def forward(self, x):\n        return self.head(x).flatten(1)\n\n\n"
        "def make():\n    return Net(6)\n\n\ndef sized(num_classes):\n    return Net(num_classes)\n"
    )
    tensors = {"head.weight": torch.zeros(6, 3, 8, 8), "after.weight": torch.zeros(2, 2)}
    for function in ("make", "sized"):
        assert _count(f"net.py:{function}", tensors, code) == 6


def test_a_head_of_no_classes_is_none() -> None:
    tensors = dict(registry.create("resnet8", in_channels=3, num_classes=4, code=None).state_dict())
    for name in ("fc.weight", "fc.bias"):
        tensors[name] = tensors[name][:0]
    with pytest.raises(StageError, match="has no head by which to count its classes"):
        _count("resnet8", tensors)


def test_a_file_without_the_head_asks_for_the_number_of_classes() -> None:
    with pytest.raises(StageError, match=r"here: has no head .*\(resnet8\); give --num-classes"):
        _count("resnet8", dict(nn.Conv2d(3, 16, 3).state_dict()))


def test_a_users_network_says_how_many_channels_it_takes(tmp_path: Path) -> None:
    code = tmp_path / "net.py"
    layers = "nn.Conv2d(4, 3, 1), nn.Conv2d(3, 8, 3)"
    code.write_text(f"from torch import nn\ndef make(): return nn.Sequential({layers})\n", "utf-8")
    network = class_count.users_network("net.py:make", code)
    assert network is not None
    assert class_count.input_channels(network) == 4
    assert class_count.users_network("resnet8", None) is None


def test_layers_that_take_their_sizes_from_images_are_run(tmp_path: Path) -> None:
    code = tmp_path / "net.py"
    layers = "nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(num_classes)"
    code.write_text(
        f"from torch import nn\ndef make(num_classes): return nn.Sequential({layers})\n", "utf-8"
    )
    tensors = {"0.weight": torch.zeros(8, 3, 3, 3), "2.weight": torch.zeros(7, 8 * 6 * 6)}
    assert _count("net.py:make", tensors, code) == 7

"""A user's file finds its neighbours whenever it imports, and ours are never lost."""

import sys
from pathlib import Path

import pytest
import torch

from models import external
from models.isolated_imports import IsolatedImports


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


NET = """
import torch
from torch import nn
from models.layers import Head


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = Head()

    def forward(self, x):
        from models.scale import SCALE
        from pipeline import steps
        import math
        return self.head(x) * SCALE * steps.COUNT * math.floor(1.5)


def make():
    return Net()
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A network whose forward pass imports from packages called models and pipeline."""
    _write(tmp_path, "models/__init__.py", "")
    _write(tmp_path, "models/scale.py", "SCALE = 3.0\n")
    _write(tmp_path, "pipeline/__init__.py", "")
    _write(tmp_path, "pipeline/steps.py", "COUNT = 2.0\n")
    head = (
        "from torch import nn\n\n\nclass Head(nn.Module):\n    def forward(self, x):\n"
        "        from .offset import OFFSET\n        return x + OFFSET\n"
    )
    _write(tmp_path, "models/layers.py", head)
    _write(tmp_path, "models/offset.py", "OFFSET = 1.0\n")
    return _write(tmp_path, "net.py", NET)


def test_imports_in_the_middle_of_a_forward_pass_find_the_neighbours(net: Path) -> None:
    network = external.from_file(net, "make")
    for _ in range(2):
        assert network(torch.ones(1)).item() == 12.0


def test_ours_and_the_path_are_back_after_every_import(net: Path) -> None:
    before, path, finders = dict(sys.modules), list(sys.path), list(sys.meta_path)
    network = external.from_file(net, "make")
    network(torch.ones(1))
    assert {name: sys.modules.get(name) for name in before} == before
    assert "models.scale" not in sys.modules
    assert (sys.path, sys.meta_path) == (path, finders)


def test_a_module_of_the_user_is_run_once(tmp_path: Path) -> None:
    _write(tmp_path, "counter.py", "CALLS = []\n")
    text = (
        "from torch import nn\nimport counter\n\n\nclass Net(nn.Module):\n"
        "    def forward(self, x):\n        from counter import CALLS\n"
        "        CALLS.append(1)\n        return x * len(counter.CALLS)\n\n\n"
        "def make():\n    return Net()\n"
    )
    network = external.from_file(_write(tmp_path, "net.py", text), "make")
    assert [network(torch.ones(1)).item() for _ in range(3)] == [1.0, 2.0, 3.0]


def test_packages_installed_below_the_folder_are_not_taken_for_the_users(tmp_path: Path) -> None:
    site = tmp_path / ".venv" / "site-packages"
    _write(site, "installed_thing/__init__.py", "VALUE = 1\n")
    sys.path.append(str(site))
    try:
        with IsolatedImports(tmp_path).active():
            __import__("installed_thing")
        assert "installed_thing" in sys.modules
    finally:
        sys.path.remove(str(site))
        sys.modules.pop("installed_thing", None)


def test_a_module_that_is_loaded_already_does_not_hide_the_users(tmp_path: Path) -> None:
    _write(tmp_path, "colorsys.py", "VALUE = 7\n")
    import colorsys

    text = (
        "from torch import nn\nfrom colorsys import VALUE\n\n\ndef make():\n"
        "    return nn.Linear(VALUE, 1)\n"
    )
    network = external.from_file(_write(tmp_path, "net.py", text), "make")
    assert isinstance(network, torch.nn.Linear)
    assert network.in_features == 7
    assert sys.modules["colorsys"] is colorsys

"""Empty caches of hubs for every test here, a local hub, and a torchvision network of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stages.hubs.local_hub import LocalHub, closed_url, served


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of both caches, `torch` and `hf`; no hub can be reached."""
    folder = tmp_path / "caches"
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", closed_url())
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "MADPIPE_HOME", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """Return a hub on a port of this machine, which huggingface_hub asks."""
    with served() as local:
        monkeypatch.setenv("HF_ENDPOINT", local.url)
        yield local


@pytest.fixture
def tiny_network() -> Iterator[Callable[[str], Any]]:
    """Register a small network in torchvision whose weights lie at an address; return the enum."""
    from functools import partial

    from torch import nn
    from torchvision.models import _api
    from torchvision.transforms._presets import ImageClassification

    def register(url: str) -> Any:
        weights = _api.Weights(
            url=url,
            transforms=partial(
                ImageClassification,
                crop_size=32,
                resize_size=40,
                mean=(0.4, 0.5, 0.6),
                std=(0.2, 0.25, 0.3),
            ),
            meta={"categories": ["dog", "ant", "cat", "bee"]},
        )
        members = _api.WeightsEnum("Tiny_Weights", {"V1": weights, "DEFAULT": weights})

        def tiny_net(*, weights: Any = None, num_classes: int = 4) -> nn.Module:
            assert weights is None
            return nn.Sequential(
                nn.Conv2d(3, 8, 3),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(8, num_classes),
            )

        tiny_net.__annotations__["weights"] = members | None
        _api.register_model("tiny_net")(tiny_net)
        return members

    yield register
    _api.BUILTIN_MODELS.pop("tiny_net", None)

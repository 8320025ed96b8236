"""Downloads from a hub on this machine: what is asked for, what is kept, and what is said."""

import hashlib
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from pipeline.errors import SettingsFault, StageError, UnavailableError
from pipeline.settings import Settings
from stages.hubs import download
from tests.stages.hubs.local_hub import (
    LocalHub,
    closed_url,
    config,
    timm_weights,
    transformers_repository,
)

NET = "hf:owner/net"


def _download(name: str, arch: str = "resnet14") -> None:
    settings = msgspec.convert({"teacher": {"weights": name, "arch": arch}}, Settings)
    download.teacher(settings, Path())


def _checkpoint() -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(2, 2)}, buffer)
    return buffer.getvalue()


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_repository_comes_into_the_cache_of_huggingface_hub(hub: LocalHub, caches: Path) -> None:
    from huggingface_hub import try_to_load_from_cache

    weights = timm_weights()
    hub.repositories["owner/net"] = {"config.json": config(), "model.safetensors": weights}
    _download(NET)
    cache = caches / "hf" / "hub"
    path = try_to_load_from_cache("owner/net", "model.safetensors", cache_dir=cache)
    assert isinstance(path, str)
    assert Path(path).read_bytes() == weights
    assert all("/owner/net/resolve/" in request for request in hub.requests)


def test_a_torch_checkpoint_is_taken_where_there_are_no_safetensors(
    hub: LocalHub, caches: Path
) -> None:
    hub.repositories["owner/net"] = {"config.json": config(), "pytorch_model.bin": _checkpoint()}
    _download(NET)
    assert "pytorch_model.bin" in _files(caches)


def test_the_preprocessing_of_transformers_comes_along(hub: LocalHub, caches: Path) -> None:
    hub.repositories["owner/net"] = transformers_repository("resnet")
    _download(NET)
    assert {"config.json", "preprocessor_config.json", "model.safetensors"} <= {
        path.name for path in (caches / "hf").rglob("snapshots/*/*")
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hf:owner/nat", r"names no repository that the hub shows \(owner/nat\)"),
        ("hf:owner/net@v9", r"names no branch, tag or commit of owner/net \(v9\)"),
        ("hf:owner/bare", "is a repository without config.json"),
        ("hf:owner/empty", r"without weights .*none of model.safetensors, pytorch_model.bin"),
        ("hf:owner/words", r"is no classifier of images \(hf:owner/words: no architectures\)"),
    ],
)
def test_what_a_hub_does_not_have_is_said(name: str, text: str, hub: LocalHub) -> None:
    hub.repositories |= {
        "owner/net": {"config.json": config()},
        "owner/bare": {"model.safetensors": b""},
        "owner/empty": {"config.json": config()},
        "owner/words": {"config.json": b'{"model_type": "bert"}', "model.safetensors": b""},
    }
    with pytest.raises(SettingsFault, match=text):
        _download(name)


def test_without_a_network_the_message_says_where_to_put_what(caches: Path) -> None:
    with pytest.raises(SettingsFault) as caught:
        _download(f"{NET}@v2")
    text = str(caught.value)
    assert "cannot be downloaded (owner/net@v2: ConnectionRefusedError" in text
    assert "run hf download owner/net --revision v2" in text
    assert f"copy the folder models--owner--net into {caches / 'hf' / 'hub'}" in text


def test_a_repository_that_comes_in_part_does_not_count(
    hub: LocalHub, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)  # between tries of huggingface_hub
    hub.repositories["owner/net"] = {"config.json": config(), "model.safetensors": b""}
    hub.cut_bytes = 100
    with pytest.raises(SettingsFault, match="cannot be downloaded"):
        _download(NET)
    assert not [path for path in (caches / "hf").rglob("snapshots/*/*") if path.is_file()]


def test_a_repository_needs_the_client_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UnavailableError, match=r"\(huggingface_hub, for owner/net\); run pip"):
        _download(NET)


Register = Callable[[str], Any]


def test_weights_of_torchvision_come_into_the_cache_of_torch_hub(
    hub: LocalHub, caches: Path, tiny_network: Register
) -> None:
    content = _checkpoint()
    name = f"tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    hub.files[f"/models/{name}"] = content
    tiny_network(f"{hub.url}/models/{name}")
    _download("torchvision:V1", "torchvision:tiny_net")
    folder = caches / "torch" / "hub" / "checkpoints"
    assert (folder / name).read_bytes() == content
    assert _files(folder) == {name}


@pytest.mark.parametrize("name", ["tiny-0123abcd.pth", "tiny.pth"])
def test_a_file_of_torch_hub_that_is_not_whole_gets_no_name(
    name: str, hub: LocalHub, caches: Path, tiny_network: Register
) -> None:
    hub.files[f"/{name}"] = _checkpoint()
    hub.cut_bytes = 100
    tiny_network(f"{hub.url}/{name}")
    with pytest.raises((SettingsFault, StageError), match=r"invalid hash value|is truncated"):
        _download("torchvision:tiny_net.V1")
    assert not _files(caches)


def test_an_address_that_does_not_answer_is_named(caches: Path, tiny_network: Register) -> None:
    tiny_network(f"{closed_url()}/tiny-0123abcd.pth")
    with pytest.raises(SettingsFault) as caught:
        _download("torchvision:tiny_net.V1")
    assert "ConnectionRefusedError" in str(caught.value)
    assert f"into {caches / 'torch' / 'hub' / 'checkpoints'} ($TORCH_HOME" in str(caught.value)

"""Classifiers of transformers: built by their configuration, filled by the names of their files."""

import warnings
from pathlib import Path

import pytest
import torch

from models import of_transformers, registry
from models.registry import UnknownArchitecture
from tests.stages.hubs.local_hub import transformers_repository


def test_logits_are_those_of_the_library_s_own_loader(tmp_path: Path) -> None:
    import safetensors.torch
    import transformers

    files = transformers_repository("vit")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    tensors = safetensors.torch.load(files["model.safetensors"])
    network = registry.create(
        "transformers:vit",
        in_channels=3,
        num_classes=4,
        code=tmp_path / "config.json",
        image_size_px=32,
    ).eval()
    own = of_transformers.under_own_names(network, tensors)
    assert own.keys() == network.state_dict().keys() != tensors.keys()
    network.load_state_dict(own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        usual = transformers.AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    x_BCHW = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(network(x_BCHW), usual(x_BCHW).logits, rtol=0, atol=0)
    # What does not belong stays, for the message that says so, and so does what fits already.
    more = of_transformers.under_own_names(network, {**tensors, "extra": torch.ones(1)})
    assert "extra" in more
    assert of_transformers.under_own_names(network, own) == own
    del tensors["classifier.weight"]
    assert "classifier.weight" not in of_transformers.under_own_names(network, tensors)


def test_a_network_of_another_library_keeps_the_names_of_its_file() -> None:
    tensors = {"a": torch.ones(1)}
    assert of_transformers.under_own_names(torch.nn.Linear(1, 1), tensors) == tensors


def test_an_architecture_of_transformers_alone_names_no_network() -> None:
    with pytest.raises(UnknownArchitecture, match=r"built by its config.json.*hf:OWNER/REPO"):
        registry.create("transformers:vit", in_channels=3, num_classes=4, code=None)


def test_a_configuration_that_the_library_does_not_know_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "no-such"}', encoding="utf-8")
    with pytest.raises(UnknownArchitecture, match="transformers does not build it"):
        registry.create("transformers:no-such", in_channels=3, num_classes=4, code=path)

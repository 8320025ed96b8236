"""export and validate on files from anywhere; build is tested with its stage."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import StageError, UsageError
from pipeline.settings import Build, Export
from stages import standalone
from stages.networks.describe import Facts
from stages.onnxgraph import io as onnx_io
from tests.stages.tiny import card, resnet8, weights_file


def test_a_file_with_its_card_needs_nothing_more(tmp_path: Path) -> None:
    weights_file(tmp_path / "w.safetensors")
    result = standalone.export(
        tmp_path / "w.safetensors",
        tmp_path / "w.onnx",
    )
    assert (result["arch"], result["classes"], result["image_size_px"]) == ("resnet8", 10, 8)
    assert result["max_logit_difference"] < 1e-3
    assert onnx_io.card_of(onnx_io.read(tmp_path / "w.onnx", "here")) == card()


def test_a_file_can_be_exported_to_take_bytes(tmp_path: Path) -> None:
    weights_file(tmp_path / "w.safetensors")
    standalone.export(
        tmp_path / "w.safetensors",
        tmp_path / "w.onnx",
        options=Export(input="uint8-nhwc"),
    )
    signature = onnx_io.signature(onnx_io.read(tmp_path / "w.onnx", "here"))
    assert (signature.input_type, signature.shape) == ("UINT8", (1, 8, 8))


def test_a_network_that_fails_its_checks_leaves_what_was_there(tmp_path: Path) -> None:
    network = resnet8()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    facts = Facts(image_size_px=8)
    standalone.export(tmp_path / "w.pth", tmp_path / "w.onnx", facts)
    before = (tmp_path / "w.onnx").read_bytes()
    next(network.parameters()).data.fill_(torch.nan)
    torch.save(network.state_dict(), tmp_path / "nan.pth")
    with pytest.raises(StageError, match="not finite"):
        standalone.export(tmp_path / "nan.pth", tmp_path / "w.onnx", facts)
    assert (tmp_path / "w.onnx").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"w.pth", "nan.pth", "w.onnx"}


def test_a_build_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "torn.onnx").write_bytes(b"\x08")
    with pytest.raises(StageError):
        standalone.build(tmp_path / "torn.onnx", tmp_path / "engine", Build(device="cpu"))
    assert not (tmp_path / "engine").exists()


def test_a_checkpoint_of_another_program_needs_its_image_size(tmp_path: Path) -> None:
    torch.save({"state_dict": resnet8(channels=3).state_dict()}, tmp_path / "w.pth")
    result = standalone.export(tmp_path / "w.pth", tmp_path / "w.onnx", Facts(image_size_px=16))
    assert (result["arch"], result["classes"], result["image_size_px"]) == ("resnet8", 10, 16)


def test_a_wrong_architecture_is_refused_with_what_differs(tmp_path: Path) -> None:
    torch.save(resnet8().state_dict(), tmp_path / "w.pth")
    with pytest.raises(StageError, match=r"--student: weights do not fit resnet20"):
        standalone.export(
            tmp_path / "w.pth", tmp_path / "w.onnx", Facts(arch="resnet20", image_size_px=8)
        )
    assert not (tmp_path / "w.onnx").exists()


def test_an_architecture_that_contradicts_the_card_is_refused(tmp_path: Path) -> None:
    weights_file(tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r"--arch: contradicts the card .*resnet14, not resnet8"):
        standalone.export(
            tmp_path / "w.safetensors", tmp_path / "w.onnx", Facts(arch="resnet14", image_size_px=8)
        )


@pytest.mark.parametrize("option", [{"num_classes": 7}, {"image_size_px": 16}])
def test_an_option_that_contradicts_the_card_is_not_ignored(
    tmp_path: Path, option: dict[str, Any]
) -> None:
    weights_file(tmp_path / "w.safetensors")
    try:
        result = standalone.export(
            tmp_path / "w.safetensors",
            tmp_path / "w.onnx",
            Facts(**option),
        )
    except UsageError:
        return
    assert result["image_size_px"] == option.get("image_size_px", 8)
    assert result["classes"] == option.get("num_classes", 10)


def test_a_network_in_a_users_file_is_exported(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\ndef make():\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10))\n",
        encoding="utf-8",
    )
    layers = torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 10)
    torch.save(torch.nn.Sequential(*layers).state_dict(), tmp_path / "w.pth")
    result = standalone.export(
        tmp_path / "w.pth",
        tmp_path / "w.onnx",
        Facts(arch=f"{tmp_path / 'net.py'}:make", num_classes=10, image_size_px=8),
    )
    assert result["max_logit_difference"] < 1e-3

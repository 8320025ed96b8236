"""Which files are programs, by their content."""

import io
from pathlib import Path

import onnx
import pytest
import torch

from stages.networks.program_kind import beside, kind_of, program_kind
from tests.models.programs import networks
from tests.models.programs.networks import Net
from tests.stages.tiny import resnet8, weights_file

X_BCHW = torch.rand(2, 1, 8, 8)


def test_the_content_says_what_a_file_is_and_not_its_name(tmp_path: Path) -> None:
    network = networks.trained(Net())
    contents = {
        "torchscript": networks.torchscript(network),
        "pt2": networks.pt2(network, X_BCHW),
        "onnx": networks.onnx(network, X_BCHW),
    }
    for kind, content in contents.items():
        for name in ("teacher.pth", "teacher", "teacher.onnx"):
            (tmp_path / name).write_bytes(content)
            assert program_kind(tmp_path / name) == kind


def test_weights_are_no_programs(tmp_path: Path) -> None:
    torch.save(resnet8().state_dict(), tmp_path / "new.pt")
    torch.save(resnet8().state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    weights_file(tmp_path / "t.safetensors")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "torn.pt").write_bytes(b"PK\x03\x04")
    for name in ("new.pt", "old.pt", "t.safetensors", "empty.pt", "torn.pt", "absent.pt"):
        assert program_kind(tmp_path / name) is None


def test_the_files_in_which_an_onnx_file_keeps_its_weights_are_named(tmp_path: Path) -> None:
    model = onnx.load(io.BytesIO(networks.onnx(networks.trained(Net()), X_BCHW)))
    assert beside(tmp_path / "absent.onnx") == ()
    onnx.save(model, tmp_path / "whole.onnx")
    assert beside(tmp_path / "whole.onnx") == ()
    onnx.save(
        model, tmp_path / "parts.onnx", save_as_external_data=True, location="my weights.bin",
        size_threshold=0,
    )  # fmt: skip
    assert beside(tmp_path / "parts.onnx") == ("my weights.bin",)
    content = (tmp_path / "parts.onnx").read_bytes().replace(b"my weights.bin", b"../weights.bin")
    (tmp_path / "parts.onnx").write_bytes(content)
    assert beside(tmp_path / "parts.onnx") == ()


@pytest.mark.parametrize(
    ("arch", "kind"), [("file:onnx", "onnx"), ("file:pt2", "pt2"), ("resnet8", None),
                       ("onnx", None), ("file:other", None)]
)  # fmt: skip
def test_an_architecture_stands_for_a_program(arch: str, kind: str | None) -> None:
    assert kind_of(arch) == kind


@pytest.mark.parametrize("length", [1, 127, 128, 200])
def test_names_of_any_length_are_read_whole(tmp_path: Path, length: int) -> None:
    model = onnx.load(io.BytesIO(networks.onnx(networks.trained(Net()), X_BCHW)))
    name = "w" * length
    onnx.save(
        model, tmp_path / "parts.onnx", save_as_external_data=True, location=name, size_threshold=0
    )
    assert beside(tmp_path / "parts.onnx") == (name,)

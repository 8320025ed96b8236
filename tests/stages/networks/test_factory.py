"""Building the network of a card, and refusing those that do not fit it."""

from pathlib import Path

import msgspec
import pytest
import safetensors.torch
import torch

from pipeline.errors import StageError
from stages.networks import factory
from tests.stages.tiny import card, resnet8, weights_file


def _user(folder: Path, forward: str) -> Path:
    path = folder / "net.py"
    path.write_text(
        "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(64, 10)\n\n"
        f"    def forward(self, x):\n        {forward}\n\n\ndef make():\n    return Net()\n",
        encoding="utf-8",
    )
    return path


def test_a_network_takes_images_and_gives_a_logit_for_each_class() -> None:
    network = factory.build(card(), code=None, place="here")
    assert network.training
    assert network(torch.rand(3, 1, 8, 8)).shape == (3, 10)


def test_its_weights_are_laid_out_channels_last() -> None:
    network = factory.build(card(), code=None, place="here")
    convolution = network.get_parameter("backbone.stage1.0.conv1.weight")
    assert convolution.is_contiguous(memory_format=torch.channels_last)


def test_the_normalisation_of_the_card_is_inside() -> None:
    network = factory.build(card(mean=(0.2,), std=(0.5,)), code=None, place="here").eval()
    x_BCHW = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(network(x_BCHW), network.backbone((x_BCHW - 0.2) / 0.5))


def test_an_unknown_architecture_is_reported_with_its_place() -> None:
    with pytest.raises(StageError, match=r"^student\.arch: no such architecture.*\(resnet9\)"):
        factory.build(card(arch="resnet9"), code=None, place="student.arch")


def test_a_network_for_other_images_is_refused_with_the_size(tmp_path: Path) -> None:
    code = _user(tmp_path, "return self.fc(x.flatten(1))")
    with pytest.raises(StageError, match=r"does not take images of 1x16x16"):
        factory.build(card(arch="net.py:make", image_size_px=16), code=code, place="here")


def test_a_network_with_other_outputs_is_refused_with_both_counts(tmp_path: Path) -> None:
    code = _user(tmp_path, "return self.fc(x.flatten(1))[:, :7]")
    with pytest.raises(StageError, match=r"gives \(7,\) outputs for 10 classes"):
        factory.build(card(arch="net.py:make"), code=code, place="here")


@pytest.mark.parametrize(
    "forward",
    ["raise ValueError('wants 224')", "return self.nothing", "assert x.shape[1] == 3"],
)
def test_a_network_that_raises_on_the_images_is_refused_by_name(
    tmp_path: Path, forward: str
) -> None:
    code = _user(tmp_path, forward)
    with pytest.raises(StageError, match=r"^here: net\.py:make does not take images of 1x8x8"):
        factory.build(card(arch="net.py:make"), code=code, place="here")


@pytest.mark.parametrize("forward", ["return (x, self.fc(x))", "return None"])
def test_a_network_that_gives_no_tensor_is_refused_by_name(tmp_path: Path, forward: str) -> None:
    code = _user(tmp_path, forward)
    with pytest.raises(StageError, match=r"^here: net\.py:make"):
        factory.build(card(arch="net.py:make"), code=code, place="here")


def test_logits_beside_other_outputs_are_taken_with_a_note(tmp_path: Path) -> None:
    code = _user(tmp_path, "return x, self.fc(x.flatten(1))")
    notes: list[str] = []
    network = factory.build(card(arch="net.py:make"), code=code, place="here", on_note=notes.append)
    assert network(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    assert "here: net.py:make returns tuple, of which [1] is taken" in notes[0]


def test_a_weights_file_with_its_card_becomes_the_network_that_was_saved(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "w.safetensors")
    network, loaded_card = factory.load(path, code=None, place="here")
    assert loaded_card == card()
    assert not network.training
    wanted = resnet8().state_dict()
    state = network.backbone.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())


def test_a_weights_file_without_a_card_is_refused(tmp_path: Path) -> None:
    safetensors.torch.save_file(resnet8().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(StageError, match="carries no card"):
        factory.load(tmp_path / "w.safetensors", code=None, place="here")


def test_the_parameters_are_what_is_trained_and_no_buffers() -> None:
    assert factory.parameter_count(torch.nn.BatchNorm2d(7)) == 14


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        ("return self.fc(x.flatten(1)).argmax(1)", r"gives classes, not logits \(torch.int64"),
        ("return self.fc(x.flatten(1))[:, :1]", r"gives one logit .*torch\.zeros_like"),
        ("return self.fc(x.flatten(1))[:, 0]", r"gives one logit .*torch\.zeros_like"),
        ("return self.fc(x.view(1, 64))", r"takes one image and no more.*x\.flatten\(1\)"),
    ],
)
def test_outputs_that_name_no_class_are_refused_with_what_helps(
    forward: str, message: str, tmp_path: Path
) -> None:
    code = _user(tmp_path, forward)
    with pytest.raises(StageError, match=f"^here: net.py:make {message}"):
        factory.build(card(arch="net.py:make"), code=code, place="here")


def test_maps_of_one_pixel_are_logits(tmp_path: Path) -> None:
    code = _user(tmp_path, "return self.fc(x.flatten(1))[:, :, None, None]")
    network = factory.build(card(arch="net.py:make"), code=code, place="here")
    assert network(torch.rand(3, 1, 8, 8)).shape == (3, 10)


def test_a_network_starts_from_weights_whose_head_may_be_for_other_classes(tmp_path: Path) -> None:
    for classes in (10, 4):
        path = tmp_path / f"{classes}.pth"
        start = resnet8(seed=5, classes=classes).state_dict()
        torch.save({"model": start}, path)
        network = factory.build(card(), code=None, place="here")
        head = network.backbone.state_dict()["fc.weight"].clone()
        notes: list[str] = []
        factory.start_from(network, card(), path, code=None, place="here", on_note=notes.append)
        state = network.backbone.state_dict()
        assert torch.equal(state["conv1.weight"], start["conv1.weight"])
        assert torch.equal(state["fc.weight"], head) == (classes == 4)
        assert bool(notes) == (classes == 4)


def test_what_names_and_shapes_do_not_tell_of_a_network_is_noted() -> None:
    notes: list[str] = []
    described = card(arch="resnet18", channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    network = factory.build(described, code=None, place="here")
    state = network.backbone.state_dict()
    for named in (state, {name.replace("shortcut", "downsample"): t for name, t in state.items()}):
        assert not notes
        factory.restore(
            described, named, code=None, arch_place="a", weights_place="w", on_note=notes.append
        )
    assert [note for note in notes if "where max pooling was kept" in note] == notes


def test_a_forward_that_asks_for_a_gpu_is_told_of_devices(tmp_path: Path) -> None:
    code = _user(tmp_path, 'raise RuntimeError("Found no NVIDIA driver")')
    with pytest.raises(StageError, match=r"device=x\.device"):
        factory.build(card(arch="net.py:make"), code=code, place="here")


def test_a_network_of_more_channels_than_images_have_is_refused() -> None:
    described = card(channels=17, mean=(0.5,) * 17, std=(0.5,) * 17)
    with pytest.raises(StageError, match=r"^here: resnet8 takes images of 17 channels"):
        factory.build(described, code=None, place="here")


def test_one_number_for_an_image_of_two_classes_is_one_logit(tmp_path: Path) -> None:
    code = _user(tmp_path, "return self.fc(x.flatten(1))[:, :1]")
    described = card(arch="net.py:make", classes=("a", "b"))
    with pytest.raises(StageError, match="gives one logit for an image"):
        factory.build(described, code=code, place="here")
    recorded = msgspec.structs.replace(described, outputs="one-logit")
    for network in (
        factory.build(recorded, code=code, place="here"),
        factory.build(described, code=code, place="here", is_teacher=True),
    ):
        assert network.outputs == "one-logit"
        logits_BK = network(torch.rand(3, 1, 8, 8))
        assert logits_BK.shape == (3, 2)
        assert not logits_BK[:, 0].any()


def test_an_output_is_chosen_by_its_name_or_number(tmp_path: Path) -> None:
    code = _user(tmp_path, "y = self.fc(x.flatten(1)); return {'a': y, 'b': [y, y + 1]}")
    x_BCHW = torch.rand(3, 1, 8, 8)
    notes: list[str] = []
    for output, change in (("a", 0.0), ("b.1", 1.0)):
        described = card(arch="net.py:make", output=output)
        torch.manual_seed(0)
        network = factory.build(described, code=code, place="here", on_note=notes.append)
        first = network.backbone.get_submodule("fc")((x_BCHW.flatten(1) - 0.3053) / 0.3761)
        torch.testing.assert_close(network(x_BCHW), first + change)
    assert notes == []
    with pytest.raises(StageError, match=r"^teacher\.output: is no output .*\(c; a \(10,\), b\.0"):
        factory.build(card(arch="net.py:make", output="c"), code=code, place="here")

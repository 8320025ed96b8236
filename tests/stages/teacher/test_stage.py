"""The teacher stage: training on real digits, loading what users have, refusing what is no use.

Shape legend: C channel, H W space.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn

from models.resnet import CifarResNet
from pipeline.errors import StageError
from stages.networks import card as cards
from stages.networks import weights
from tests.stages.data.trees import put
from tests.stages.tiny import TinyRun, card, resnet8, run_stages, settings, weights_file

SMALL = {"epochs": 1}


def _with_weights(path: Path, arch: str = "resnet8") -> Mapping[str, Mapping[str, Any]]:
    return {"teacher": {"arch": arch, "weights": str(path)}}


def test_a_trained_teacher_is_far_better_than_chance(tiny: TinyRun) -> None:
    assert tiny.metrics("teacher")["top1"] > 0.8
    assert tiny.metrics("teacher")["params"] == sum(p.numel() for p in resnet8().parameters())


def test_the_weights_carry_the_card_of_the_network_and_its_images(tiny: TinyRun) -> None:
    assert cards.read(tiny.path("teacher/weights")) == card()


def test_training_reports_every_epoch_with_its_loss(tiny: TinyRun) -> None:
    progress = [e.fields for e in tiny.events if e.kind == "progress" and e.stage == "teacher"]
    steps = [fields for fields in progress if fields["unit"] == "steps"]
    done = [fields["done"] for fields in steps]
    total = steps[-1]["total"]
    assert {0, total // 3, 2 * total // 3, total} <= set(done)
    assert done == sorted(done)
    assert steps[-1]["loss"] < steps[1]["loss"]


def test_checking_the_teacher_reports_the_images_that_it_has_seen(tiny: TinyRun) -> None:
    progress = [e.fields for e in tiny.events if e.kind == "progress" and e.stage == "teacher"]
    images = [fields for fields in progress if fields["unit"] == "images"]
    assert (images[0]["done"], images[-1]["done"], images[-1]["total"]) == (0, 540, 540)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(tmp_path: Path) -> None:
    one = run_stages(settings({"teacher": SMALL}), tmp_path / "one", count=1)
    same = run_stages(settings({"teacher": SMALL}), tmp_path / "same", count=1)
    other = run_stages(settings({"teacher": SMALL}, seed=1), tmp_path / "other", count=1)
    content = one.path("teacher/weights").read_bytes()
    assert same.path("teacher/weights").read_bytes() == content
    assert other.path("teacher/weights").read_bytes() != content


def test_given_weights_are_used_as_they_are(tiny: TinyRun, tmp_path: Path) -> None:
    path = tiny.path("teacher/weights")
    tiny_run = run_stages(settings(_with_weights(path)), tmp_path, count=1)
    assert tiny_run.path("teacher/weights").read_bytes() == path.read_bytes()
    assert tiny_run.metrics("teacher")["top1"] == tiny.metrics("teacher")["top1"]
    events = [event for event in tiny_run.events if event.kind == "progress"]
    assert not [event for event in events if event.fields["unit"] == "steps"]


def test_a_torch_checkpoint_of_a_training_script_is_read(tiny: TinyRun, tmp_path: Path) -> None:
    tensors = safetensors.torch.load_file(tiny.path("teacher/weights"))
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": t for name, t in tensors.items()}}
    torch.save(wrapped, tmp_path / "teacher.pth")
    tiny_run = run_stages(settings(_with_weights(tmp_path / "teacher.pth")), tmp_path, count=1)
    assert (
        tiny_run.path("teacher/weights").read_bytes() == tiny.path("teacher/weights").read_bytes()
    )


def test_a_teacher_no_better_than_chance_is_refused(tmp_path: Path) -> None:
    network = resnet8()
    torch.nn.init.zeros_(network.fc.weight)
    weights.save(tmp_path / "blind.safetensors", network, {})
    with pytest.raises(StageError, match=r"no better than chance \(top-1 0\.\d+ on 540 images"):
        run_stages(settings(_with_weights(tmp_path / "blind.safetensors")), tmp_path, count=1)


def test_a_teacher_whose_outputs_are_not_finite_is_refused(tmp_path: Path) -> None:
    network = resnet8()
    torch.nn.init.constant_(network.fc.weight, float("nan"))
    weights.save(tmp_path / "nan.safetensors", network, {})
    with pytest.raises(StageError, match="not finite"):
        run_stages(settings(_with_weights(tmp_path / "nan.safetensors")), tmp_path, count=1)


def test_weights_of_another_architecture_are_refused_with_what_differs(tmp_path: Path) -> None:
    weights.save(tmp_path / "w.safetensors", resnet8(), {})
    with pytest.raises(StageError, match=r"do not fit resnet20 .*missing: stage1\.1"):
        run_stages(
            settings(_with_weights(tmp_path / "w.safetensors", "resnet20")), tmp_path, count=1
        )


def test_weights_for_other_classes_are_refused_with_both_shapes(tmp_path: Path) -> None:
    weights.save(tmp_path / "w.safetensors", resnet8(classes=7), {})
    with pytest.raises(StageError, match=r"fc\.weight is \(7, 64\), not \(10, 64\)"):
        run_stages(settings(_with_weights(tmp_path / "w.safetensors")), tmp_path, count=1)


def test_absent_weights_are_named_by_their_setting(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"teacher\.weights: .*none\.pth"):
        run_stages(settings(_with_weights(tmp_path / "none.pth")), tmp_path, count=1)


def test_a_network_in_a_users_file_is_trained(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\ndef make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n",
        encoding="utf-8",
    )
    chosen = settings({"teacher": {"arch": "net.py:make", "epochs": 2}})
    tiny_run = run_stages(chosen, tmp_path, count=1)
    assert tiny_run.metrics("teacher")["params"] == 650
    assert tiny_run.metrics("teacher")["top1"] > 0.5


def test_a_set_without_its_training_part_needs_a_given_teacher(tmp_path: Path) -> None:
    put(tmp_path / "data", [f"val/{number}/1.jpg" for number in range(10)])
    chosen = settings({"data": {"source": "cifar10"}, "teacher": {"epochs": 1}})
    with pytest.raises(StageError, match=r"holds no training images .*teacher\.weights"):
        run_stages(chosen, tmp_path, count=1)


def test_weights_for_more_classes_than_the_images_have_say_how_to_name_them(
    tmp_path: Path,
) -> None:
    for name in "ab":
        (tmp_path / "data" / "val" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "data" / "val" / name / "1.png")
    weights.save(tmp_path / "w.safetensors", resnet8(), {})
    images = {"source": "folder", "image_size_px": 8, "mean": (0.5,), "std": (0.5,)}
    chosen = settings({"data": images, **_with_weights(tmp_path / "w.safetensors")})
    with pytest.raises(StageError, match=r"for 10 classes and data\.root has 2: .*data\.classes"):
        run_stages(chosen, tmp_path, count=1)


def test_a_card_that_says_otherwise_than_the_images_settings_is_refused(tmp_path: Path) -> None:
    weights_file(tmp_path / "w.safetensors", mean=(0.5,))
    with pytest.raises(StageError, match=r"data\.mean: is not what the card in .*, not 0\.5\)"):
        run_stages(settings(_with_weights(tmp_path / "w.safetensors")), tmp_path, count=1)


def test_statistics_of_a_folder_that_nobody_said_are_noted(tmp_path: Path) -> None:
    for name, value in (("a", "black"), ("b", "white")):
        (tmp_path / "data" / "val" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), value).save(tmp_path / "data" / "val" / name / "1.png")
    network = resnet8(channels=3, classes=2).eval()
    _tell_apart(network, *(torch.full((3, 8, 8), level) for level in (-2.0, 2.0)))
    torch.save(network.state_dict(), tmp_path / "w.pth")
    images = {"source": "folder", "image_size_px": 8}
    chosen = settings({"data": images, **_with_weights(tmp_path / "w.pth")})
    run = run_stages(chosen, tmp_path, count=1)
    assert any("assumed data.mean (0.485" in note for note in run.notes())
    strict = msgspec.structs.replace(chosen.teacher, strict=True)
    chosen = msgspec.structs.replace(chosen, teacher=strict)
    with pytest.raises(StageError, match=r"teacher\.strict: .* set data\.mean, data\.std"):
        run_stages(chosen, tmp_path, count=1)


@torch.no_grad()
def _tell_apart(network: CifarResNet, first_CHW: Tensor, second_CHW: Tensor) -> None:
    """Set the last layer so that images near the first are of class 0, of the second of class 1."""
    head, network.fc = network.fc, nn.Identity()  # type: ignore[assignment]
    first_C, second_C = network(torch.stack([first_CHW, second_CHW]))
    network.fc = head
    head.weight.copy_(torch.stack([first_C, second_C]))
    head.bias.copy_(-head.weight.square().sum(dim=1) / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 1e20}, r"teacher.learning_rate: leads to a loss .* in epoch 1 \(nan\)"),
        ({"learning_rate": 1e-12, "epochs": 1}, "no better than chance .*train it longer"),
    ],
)
def test_a_training_that_fails_says_what_to_set(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match=message):
        run_stages(settings({"teacher": options}), tmp_path, count=1)

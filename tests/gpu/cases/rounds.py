"""Training rounds of every method on hollow CUDA, as they are written: nothing is compiled."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.pairs import Pair
from pipeline.settings import Distill
from stages.distill.distributed.group import Group
from stages.distill.job import build_trainer
from stages.distill.trainer import DistillTrainer
from stages.training import device as devices
from stages.training import state_file
from tests.gpu.hollow.calls import Calls
from tests.stages.distill.tiny_training import job, teacher

METHODS: dict[str, dict[str, Any]] = {
    "madpipe": {"method": "madpipe"},
    "mad": {},
    "mad in fp32": {"precision": "fp32"},
    "mad with accumulation": {"accumulation_steps": 2},
    "mad with its averaged BatchNorm": {"ema_batch_norm": "averaged"},
    "mad with a draw for two steps": {"draw_every": 2},
    "mad in two passes": {"joint_batch": False},
    "mad, each round measured": {"rounds": 20},
    "abm": {"method": "abm"},
    "dfkd-mem": {"method": "dfkd-mem"},
    "dfad": {"method": "dfad"},
    "dfq": {"method": "dfq"},
    "sum with pretraining": {"generator": "sum", "pretrain_steps": 2},
    "cat with pretraining": {"generator": "cat", "pretrain_steps": 2},
    "madpipe with small batches": {"method": "madpipe", "student_batch_size": 8},
    "mirrored, in other colours": {"augment": "shift-flip", "colour_jitter": 0.4},
    "enlarged, small first": {"enlarge": 2, "small_rounds": 0.5},
    "enlarged, from the second round on": {"enlarge": 2, "rounds": 20, "small_rounds": 0.05},
    "structured noise": {"noise_batches": 2, "feature_weight": 0.1},
    "priors": {"total_variation_weight": 0.1, "l2_weight": 0.1, "colour_weight": 0.1},
    "images of several scales": {"generator_scales": "sum"},
    "another disagreement": {"loss": "kl", "temperature": 4.0, "adversarial_loss": "l1"},
    "from the teacher's layers": {"student_start": "teacher"},
}


def trainer(folder: Path, **options: Any) -> DistillTrainer:
    """Return a small trainer on the GPU, of rounds of which none is measured."""
    chosen: dict[str, Any] = {
        "method": "mad",
        "rounds": 8000,
        "precision": "bf16",
        "compile": "off",
        "student_steps": 2,
    }
    chosen |= options
    built, _ = build_trainer(job(**chosen), teacher(folder), Group())
    assert built.compute.device.type == "cuda"
    return built


def restored(first: DistillTrainer, folder: Path, **options: Any) -> DistillTrainer:
    """Return another trainer with the state that the first one saves."""
    state_file.save(folder / "state", first.state())
    other = trainer(folder, **options)
    other.restore(state_file.load(folder / "state"))
    return other


@pytest.mark.parametrize("options", METHODS.values(), ids=METHODS.keys())
def test_no_round_waits_for_the_gpu_and_a_state_goes_on(
    options: dict[str, Any], tmp_path: Path
) -> None:
    first = trainer(tmp_path, **options)
    while first.pretrained < first.options.pretrain_steps:
        first.pretrain_step()
    first.train_round()
    before = Calls.read()
    first.train_round()
    assert Calls.read().since(before).waits == 0
    assert first.close_window().round == 2
    other = restored(first, tmp_path, **options)
    other.train_round()
    assert other.round == 3
    for network in (other.student, other.generator, other.ema):
        assert {value.device.type for value in network.state_dict().values()} == {"cuda"}


@pytest.mark.parametrize("is_saved_on_gpu", [True, False])
def test_a_state_goes_on_on_another_device_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_saved_on_gpu: bool
) -> None:
    def on_cpu(_precision: str = "auto") -> devices.Compute:
        return devices.Compute(torch.device("cpu"), "bf16")

    with monkeypatch.context() as patch:
        if not is_saved_on_gpu:
            patch.setattr(devices, "select", on_cpu)
        first, _ = build_trainer(job(method="madpipe", compile="off"), teacher(tmp_path), Group())
        first.train_round()
        state_file.save(tmp_path / "state", first.state())
    if is_saved_on_gpu:
        monkeypatch.setattr(devices, "select", on_cpu)
    other, _ = build_trainer(job(method="madpipe", compile="off"), teacher(tmp_path), Group())
    assert other.compute.device.type != first.compute.device.type
    note = other.restore(state_file.load(tmp_path / "state"))
    assert note is not None
    assert f"({first.compute.device.type}, now {other.compute.device.type})" in note
    other.train_round()
    assert other.round == 2


def test_steps_launch_no_more_kernels_than_they_did() -> None:
    """Of ResNet-34 to ResNet-18 on 32 pixels, with nothing compiled.

    Before the teacher was folded on a GPU, and before moments came out of one reduction, a
    generator step had 1,769 kernels, a draw 317 and a student step 340. Seven of each of the first
    two count what the teacher cannot say.
    """
    options = Distill(method="mad", rounds=8000, batch_size=4, generator_width=8, compile="off")
    pair = Pair("resnet34", "resnet18").trainer(options)
    assert pair.is_folded
    pair.train_round()
    launches: list[int] = []
    batches = [pair.sample_batch()]
    for step in (pair.generator_step, pair.sample_batch, lambda: pair.student_step(0, batches)):
        before = Calls.read()
        step()
        launches.append(Calls.read().since(before).launches)
    most = (1580, 250, 345)
    assert all(count <= bound for count, bound in zip(launches, most, strict=True)), launches


def test_what_waits_would_be_seen(tmp_path: Path) -> None:
    waiting = trainer(tmp_path)
    before = Calls.read()
    waiting.generator_step().item()
    torch.zeros(4).to("cuda")
    assert Calls.read().since(before).waits >= 2

"""The options of the training: every one does what it promises and nothing else."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from pipeline.errors import StageError
from stages.distill import collapse
from stages.distill.distributed.group import Group
from stages.distill.job import build_trainer
from stages.distill.trainer import DistillTrainer
from stages.training import state_file
from tests.stages.distill.tiny_training import job, teacher, trained_state
from tests.stages.tiny import TinyRun

MakeTrainer = Callable[..., DistillTrainer]


@pytest.fixture(scope="module")
def weights_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def make_trainer(weights_path: Path) -> MakeTrainer:
    def make(**options: Any) -> DistillTrainer:
        return build_trainer(job(**options), weights_path, Group())[0]

    return make


def _distance(one: DistillTrainer, other: DistillTrainer) -> float:
    first, second = trained_state(one), trained_state(other)
    return max((first[name].double() - second[name].double()).abs().max().item() for name in first)


VARIANTS: list[dict[str, Any]] = [
    {"method": "mad"},
    {"method": "abm"},
    {"method": "dfkd-mem", "memory_size": 7},
    {"memory_size": 9},
    {"student_batch_size": 6},
    {"method": "dfad"},
    {"method": "dfq"},
    {"generator": "sum"},
    {"generator": "cat", "delta": 0.1},
    {"ema_batch_norm": "averaged"},
    {"method": "mad", "joint_batch": False},
    {"augment": "none"},
    {"augment": "shift-flip"},
    {"colour_jitter": 0.4},
    {"lambda0": 0.0},
    {"loss": "js", "temperature": 4.0},
    {"generator_steps": 2},
    {"student_steps": 3, "draw_every": 2},
    {"accumulation_steps": 2},
    {"pretrain_steps": 2, "generator": "sum"},
]


def test_a_student_that_samples_by_itself_goes_on_bit_by_bit(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    def with_dropout() -> DistillTrainer:
        trainer = make_trainer()
        trainer.student.backbone.register_forward_hook(
            lambda module, _, logits_BK: torch.dropout(logits_BK, 0.3, module.training)
        )
        return trainer

    whole = with_dropout()
    for _ in range(2):
        whole.train_round()
    state_file.save(tmp_path / "state", whole.state())
    for _ in range(2):
        whole.train_round()
    resumed = with_dropout()
    resumed.restore(state_file.load(tmp_path / "state"))
    for _ in range(2):
        resumed.train_round()
    assert _distance(whole, resumed) == 0


class Stopped(Exception):
    """Ends a run in its middle, as a signal does."""


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_run_goes_on_from_its_checkpoint_bit_by_bit(
    make_trainer: MakeTrainer, tmp_path: Path, options: dict[str, Any]
) -> None:
    whole, first, second = (make_trainer(**options) for _ in range(3))

    def stop_after_two() -> None:
        if first.round == 2:
            raise Stopped

    whole.run()
    with pytest.raises(Stopped):
        first.run(on_round=stop_after_two)
    state_file.save(tmp_path / "state", first.state())
    second.restore(state_file.load(tmp_path / "state"))
    second.run()
    assert _distance(whole, second) == 0.0
    assert whole.windows == second.windows


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_variant_trains_otherwise_than_the_default(
    make_trainer: MakeTrainer, options: dict[str, Any]
) -> None:
    plain, variant = make_trainer(), make_trainer(**options)
    for _ in range(variant.options.pretrain_steps):
        variant.pretrain_step()
    plain.train_round()
    variant.train_round()
    first, second = trained_state(plain), trained_state(variant)
    students = [name for name in first if name.startswith("student")]
    assert any(not torch.equal(first[name], second[name]) for name in students)


def test_a_batch_is_used_for_as_many_steps_as_asked(make_trainer: MakeTrainer) -> None:
    counts = []
    for draw_every in (1, 2, 5):
        trainer = make_trainer(student_steps=5, draw_every=draw_every)
        with mock.patch.object(trainer, "sample_batch", wraps=trainer.sample_batch) as sample:
            trainer.train_round()
        counts.append(sample.call_count)
    assert counts == [5, 3, 1]


def test_the_generators_gradient_of_two_parts_is_that_of_the_whole(
    make_trainer: MakeTrainer,
) -> None:
    # Without BatchNorm terms and with running statistics, parts do not know of one another.
    # Noise of 128 numbers a part is sampled by torch as half of 256 at once.
    options = {"method": "dfad", "loss": "l1", "noise_dim": 16}
    whole, parts = make_trainer(**options), make_trainer(**options, accumulation_steps=2)
    for trainer in (whole, parts):
        trainer.generator.eval()
        trainer.generator_step()
    for one, other in zip(whole.generator.parameters(), parts.generator.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-6)


def test_with_separate_batches_every_half_has_its_own_statistics(
    make_trainer: MakeTrainer,
) -> None:
    separate, joint = make_trainer(joint_batch=False), make_trainer()
    batch = joint.sample_batch()
    reference = copy.deepcopy(joint.student)
    expected_BK = torch.cat([reference(x_BCHW) for x_BCHW in batch.x_BCHW.chunk(2)])
    student_BK = separate.student_logits(batch)
    torch.testing.assert_close(student_BK, expected_BK, rtol=1e-5, atol=1e-5)
    assert (joint.student_logits(batch) - expected_BK).abs().max() > 1e-4


def test_images_are_shifted_before_the_teacher_sees_them(make_trainer: MakeTrainer) -> None:
    plain, shifting = make_trainer(augment="none"), make_trainer()
    batch = shifting.sample_batch()
    x_BCHW, shifted_BCHW = plain.sample_batch().x_BCHW[:16], batch.x_BCHW[:16]
    padded_BCHW = torch.nn.functional.pad(x_BCHW, (1, 1, 1, 1))
    crops = [padded_BCHW[..., i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    same_9B = torch.stack([(crop == shifted_BCHW).flatten(1).all(dim=1) for crop in crops])
    assert same_9B.any(dim=0).all()
    assert same_9B.any(dim=1).sum() > 3
    with torch.no_grad():
        torch.testing.assert_close(batch.teacher_BK, shifting.frozen_teacher(batch.x_BCHW))


def test_pretraining_moves_the_generator_alone_and_the_ema_begins_where_it_ends(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(generator="sum", pretrain_steps=3)
    before = trained_state(trainer)
    for _ in range(3):
        trainer.pretrain_step()
    after = trained_state(trainer)
    students = [name for name in before if name.startswith("student")]
    assert all(torch.equal(before[name], after[name]) for name in students)
    names = [name.removeprefix("ema.") for name in before if name.startswith("ema.")]
    moved = [n for n in names if not torch.equal(before[f"generator.{n}"], after[f"generator.{n}"])]
    assert moved
    assert all(torch.equal(after[f"generator.{n}"], after[f"ema.{n}"]) for n in names)


def test_pretraining_teaches_a_conditional_generator_its_labels(tiny: TinyRun) -> None:
    options = job(generator="sum", generator_learning_rate=0.01, batch_norm_weight=0.0)
    trainer, _ = build_trainer(options, tiny.path("teacher/weights"), Group())

    def nll() -> float:
        z_BZ, y_B = trainer.sampler.sample(64)
        assert y_B is not None
        with torch.no_grad():
            teacher_BK = trainer.teacher(trainer.generator(z_BZ, y_B))
        return torch.nn.functional.cross_entropy(teacher_BK, y_B).item()

    before = nll()
    for _ in range(60):
        trainer.pretrain_step()
    assert nll() < 0.8 * before


def test_an_embedding_longer_than_delta_shrinks(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(
        generator="sum", delta=0.5, norm_weight=100.0, generator_learning_rate=0.05
    )
    assert trainer.generator.embedding is not None
    embedding_KZ = trainer.generator.embedding.weight
    before = embedding_KZ.norm(dim=1).mean().item()
    for _ in range(30):
        trainer.generator_step()
    assert embedding_KZ.norm(dim=1).mean().item() < 0.8 * before


def test_the_memory_holds_only_images_of_the_generator(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(method="dfkd-mem", memory_size=50)
    for _ in range(3):
        trainer.train_round()
    assert len(trainer.memory) == 3 * 5 * (16 // 8)


def test_the_replay_memory_holds_both_generators_images_and_the_teachers_logits(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(method="madpipe", memory_size=200)
    for _ in range(3):
        trainer.train_round()
    memory = trainer.memory
    assert len(memory) == 3 * 2 * 16
    x_BCHW = memory.x_NCHW[: len(memory)].float() / 255
    expected_BK = trainer.teacher(x_BCHW.contiguous(memory_format=torch.channels_last))
    # Images are kept as bytes, so that logits are those of nearly the same image.
    assert torch.allclose(memory.teacher_NK[: len(memory)], expected_BK, atol=0.1)
    assert expected_BK.std() > 0.1
    assert not memory.teacher_NK[len(memory) :].any()


def test_a_student_step_of_madpipe_learns_from_the_past(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(method="madpipe", student_batch_size=8)
    trainer.train_round()
    with torch.no_grad():
        trainer.memory.x_NCHW.zero_()
        trainer.memory.teacher_NK.fill_(3.0)
    seen: list[torch.Tensor] = []
    handle = trainer.student.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].detach().clone())
    )
    trainer.sampler.sample = mock.Mock(side_effect=AssertionError("nothing is drawn"))  # type: ignore[method-assign]
    trainer.student_step(0, trainer.replay())
    handle.remove()
    assert [len(x_BCHW) for x_BCHW in seen] == [8]
    assert not seen[0].any()


def test_windows_are_about_fifty_and_the_last_round_ends_one(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(rounds=130)
    ends = []
    for number in range(1, 131):
        trainer.round = number
        if trainer.window_is_full:
            ends.append(number)
    assert len(ends) == 65
    assert ends[-1] == 130


def test_a_learning_rate_that_explodes_ends_the_run(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(student_learning_rate=1e30, rounds=60)
    with pytest.raises(StageError, match=r"is not finite|collapsed"):
        trainer.run(on_round=lambda: collapse.check(trainer.windows, 10, trainer.options.rounds))


def test_networks_are_compiled_where_the_settings_and_the_device_ask_for_it(
    make_trainer: MakeTrainer,
) -> None:
    compute, network = make_trainer().compute, torch.nn.Linear(2, 2)
    with mock.patch.object(network, "compile") as compile_:
        compute.compile(compute.compile_mode("auto"), network)
        compute.compile("off", network)
        assert compile_.call_args_list == []
        compute.compile("on", network)
        compute.compile("cuda-graphs", network)
    modes = [call.kwargs["mode"] for call in compile_.call_args_list]
    assert modes == [None, "reduce-overhead"]


def test_a_network_is_compiled_for_images_that_another_made() -> None:
    # What a generator made is no leaf of autograd's graph, of which torch.compile warns itself.
    network = torch.nn.Linear(2, 2)
    network.compile(backend="eager", dynamic=False)
    x_BF = torch.ones(3, 2, requires_grad=True) * 2
    network(x_BF).sum().backward()
    assert network.weight.grad is not None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch.compile warns of what it does itself
def test_a_compiled_student_learns_what_an_eager_one_does(make_trainer: MakeTrainer) -> None:
    eager, compiled = make_trainer(), make_trainer(compile="on")
    for trainer in (eager, compiled):
        trainer.train_round()
    assert _distance(eager, compiled) < 1e-2

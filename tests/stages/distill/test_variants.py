"""The options of the game: each does what it says and nothing else."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.errors import StageError
from stages.distill import collapse
from stages.distill.distributed.group import Group
from stages.distill.job import build_trainer
from stages.distill.trainer import DistillTrainer
from stages.training import checkpoint_io
from tests.stages.distill.tiny_training import job, teacher
from tests.stages.tiny import Brought


@pytest.fixture(scope="module")
def weights_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def game(weights_path: Path) -> Any:
    def make(**options: Any) -> DistillTrainer:
        return build_trainer(job(**options), weights_path, Group())[0]

    return make


def _state(game: DistillTrainer) -> dict[str, Tensor]:
    parts = {"student": game.student, "generator": game.generator, "ema": game.ema}
    return {
        f"{part}.{name}": each.clone()
        for part, network in parts.items()
        for name, each in network.state_dict().items()
    }


def _far(one: DistillTrainer, other: DistillTrainer) -> float:
    mine, theirs = _state(one), _state(other)
    return max((mine[n].double() - theirs[n].double()).abs().max().item() for n in mine)


VARIANTS: list[dict[str, Any]] = [
    {"method": "abm"},
    {"method": "dfkd-mem", "memory_size": 7},
    {"method": "dfad"},
    {"method": "dfq"},
    {"generator": "sum"},
    {"generator": "cat", "delta": 0.1},
    {"ema_batch_norm": "averaged"},
    {"joint_batch": False},
    {"augment": "none"},
    {"lambda0": 0.0},
    {"loss": "js", "temperature": 4.0},
    {"generator_steps": 2},
    {"student_steps": 3, "draw_every": 2},
    {"accumulation_steps": 2},
    {"pretrain_steps": 2, "generator": "sum"},
]


def test_a_student_that_draws_by_itself_goes_on_bit_by_bit(game: Any, tmp_path: Path) -> None:
    def with_dropout() -> DistillTrainer:
        made: DistillTrainer = game()
        made.student.backbone.register_forward_hook(
            lambda module, _, logits_BK: torch.dropout(logits_BK, 0.3, module.training)
        )
        return made

    whole = with_dropout()
    for _ in range(2):
        whole.train_round()
    checkpoint_io.save(tmp_path / "kept", whole.state())
    for _ in range(2):
        whole.train_round()
    resumed = with_dropout()
    resumed.restore(checkpoint_io.load(tmp_path / "kept"))
    for _ in range(2):
        resumed.train_round()
    assert _far(whole, resumed) == 0


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_game_goes_on_from_its_checkpoint_bit_by_bit(
    game: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    def play(each: DistillTrainer, until: int) -> None:
        while each.pretrained < each.options.pretrain_steps:
            each.pretrain_step()
        while each.round < until:
            each.train_round()
            if each.window_is_full:
                each.close_window()

    whole, first, second = game(**options), game(**options), game(**options)
    play(whole, 4)
    play(first, 2)
    checkpoint_io.save(tmp_path / "state", first.state())
    second.restore(checkpoint_io.load(tmp_path / "state"))
    play(second, 4)
    assert _far(whole, second) == 0.0
    assert whole.windows == second.windows


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_variant_plays_another_game_than_the_default(game: Any, options: dict[str, Any]) -> None:
    plain, other = game(), game(**options)
    for _ in range(other.options.pretrain_steps):
        other.pretrain_step()
    plain.train_round()
    other.train_round()
    mine, theirs = _state(plain), _state(other)
    shared = [n for n in mine if n in theirs and mine[n].shape == theirs[n].shape]
    assert any(not torch.equal(mine[n], theirs[n]) for n in shared if n.startswith("student"))


def test_a_draw_is_used_for_as_many_steps_as_asked(game: Any) -> None:
    counts = []
    for every in (1, 2, 5):
        made = game(student_steps=5, draw_every=every)
        drawn: list[int] = []
        real = made._drawn
        made._drawn = lambda real=real, drawn=drawn: (drawn.append(1), real())[1]
        made.train_round()
        counts.append(len(drawn))
    assert counts == [5, 3, 1]


def test_the_generators_gradient_of_two_parts_is_that_of_the_whole(game: Any) -> None:
    # Without BatchNorm terms and with running statistics, parts do not know of each other.
    # Noise of 128 numbers a part is drawn by torch as half of 256 at once.
    options = {"method": "dfad", "loss": "l1", "noise_dim": 16}
    whole, parts = game(**options), game(**options, accumulation_steps=2)
    for each in (whole, parts):
        each.generator.eval()
        each.generator.train = lambda *_, each=each: each.generator
        each._generator_step()
    mine = [p.grad for p in whole.generator.parameters() if p.grad is not None]
    theirs = [p.grad for p in parts.generator.parameters() if p.grad is not None]
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_with_separate_batches_each_half_has_its_own_statistics(game: Any) -> None:
    apart, joint = game(joint_batch=False), game()
    fakes = joint._drawn()
    halves = fakes.x_BCHW.chunk(2)
    reference = copy.deepcopy(joint.student)
    wanted = torch.cat([reference(each) for each in halves])
    torch.testing.assert_close(apart._judged(fakes), wanted, rtol=1e-5, atol=1e-5)
    assert (joint._judged(fakes) - wanted).abs().max() > 1e-4


def test_images_are_shifted_before_the_teacher_is_asked(game: Any) -> None:
    plain, moved = game(augment="none"), game()
    x_BCHW, shifted_BCHW = plain._drawn().x_BCHW[:16], moved._drawn().x_BCHW[:16]
    padded_BCHW = torch.nn.functional.pad(x_BCHW, (1, 1, 1, 1))
    crops = [padded_BCHW[..., i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    same_9B = torch.stack([(each == shifted_BCHW).flatten(1).all(dim=1) for each in crops])
    assert same_9B.any(dim=0).all()
    assert same_9B.any(dim=1).sum() > 3


def test_pretraining_moves_the_generator_alone_and_the_ema_begins_where_it_ends(game: Any) -> None:
    made = game(generator="sum", pretrain_steps=3)
    before = _state(made)
    for _ in range(3):
        made.pretrain_step()
    after = _state(made)
    students = [n for n in before if n.startswith("student")]
    assert all(torch.equal(before[n], after[n]) for n in students)
    moved = [n.removeprefix("generator.") for n in before if n.startswith("generator.")]
    assert any(not torch.equal(before[f"generator.{n}"], after[f"generator.{n}"]) for n in moved)
    assert all(torch.equal(after[f"generator.{n}"], after[f"ema.{n}"]) for n in moved)


def test_pretraining_teaches_a_conditional_generator_its_labels(tiny: Brought) -> None:
    options = job(generator="sum", generator_learning_rate=0.01, batch_norm_weight=0.0)
    made, _ = build_trainer(options, tiny.path("teacher/weights"), Group())

    def nll() -> float:
        z_BZ, y_B = made.dice.throw(64)
        assert y_B is not None
        with torch.no_grad():
            teacher_BK = made.teacher(made.generator(z_BZ, y_B))
        return torch.nn.functional.cross_entropy(teacher_BK, y_B).item()

    before = nll()
    for _ in range(60):
        made.pretrain_step()
    assert nll() < 0.8 * before


def test_an_embedding_longer_than_delta_is_drawn_in(game: Any) -> None:
    made = game(generator="sum", delta=0.5, norm_weight=100.0, generator_learning_rate=0.05)
    embedding = made.generator.embedding.weight
    before = embedding.norm(dim=1).mean().item()
    for _ in range(30):
        made._generator_step()
    assert embedding.norm(dim=1).mean().item() < 0.8 * before


def test_the_memory_holds_only_what_the_generator_made(game: Any) -> None:
    made = game(method="dfkd-mem", memory_size=50)
    for _ in range(3):
        made.train_round()
    assert len(made.memory) == 3 * 2 * (16 // 8)


def test_windows_are_about_fifty_and_the_last_round_ends_one(game: Any) -> None:
    made = game(rounds=130)
    ends = []
    for number in range(1, 131):
        made.round = number
        if made.window_is_full:
            ends.append(number)
    assert len(ends) == 65
    assert ends[-1] == 130


def test_a_learning_rate_that_explodes_ends_the_run(game: Any) -> None:
    made = game(student_learning_rate=1e30, rounds=60)

    def play() -> None:
        for _ in range(60):
            made.train_round()
            made.close_window()
            collapse.check(made.windows, 10)

    with pytest.raises(StageError, match=r"is not finite|collapsed"):
        play()


def test_compiled_networks_play_the_same_game(game: Any) -> None:
    modes: list[Any] = []
    made = game()
    for network in (made.student, made.generator):
        network.compile = lambda **how: modes.append(how)
    made.compute.compile("auto", made.student)
    made.compute.compile("off", made.student)
    assert modes == []
    made.compute.compile("on", made.student, made.generator)
    made.compute.compile("cuda-graphs", made.student)
    assert [each["mode"] for each in modes] == [None, None, "reduce-overhead"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch.compile warns of what it does itself
def test_a_compiled_student_learns_what_an_eager_one_does(game: Any) -> None:
    eager, compiled = game(), game(compile="on")
    for each in (eager, compiled):
        each.train_round()
    assert _far(eager, compiled) < 1e-2

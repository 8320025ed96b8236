"""The methods differ in data alone, and a weight in the settings beats the method's own."""

import math
import typing
from typing import Any

import pytest

from pipeline.settings import Distill
from pipeline.settings.distill import MethodName
from stages.distill import losses
from stages.distill.methods import (
    METHODS,
    images_in_step,
    images_weight,
    loss_terms,
    recipe,
    starts_from_teacher,
)


def test_the_methods_are_those_that_the_settings_name() -> None:
    assert set(METHODS) == set(typing.get_args(MethodName))


@pytest.mark.parametrize(
    ("method", "source"),
    [
        ("madpipe", "ema"),
        ("mad", "ema"),
        ("abm", None),
        ("dfkd-mem", "memory"),
        ("dfad", None),
        ("dfq", None),
    ],
)
def test_every_method_has_its_second_source(method: Any, source: str | None) -> None:
    assert recipe(Distill(method=method), 3072).second_source == source


def test_dfad_has_nothing_but_disagreement_of_logits() -> None:
    terms = loss_terms(Distill(method="dfad"))
    assert (terms.batch_norm, terms.one_hot, terms.balance) == (0, 0, 0)
    assert terms.adversarial == 1
    assert terms.distance is losses.l1


def test_dfq_weighs_balance_above_all() -> None:
    terms = loss_terms(Distill(method="dfq"))
    assert (terms.batch_norm, terms.one_hot, terms.balance) == (1, 1, 20)
    assert terms.distance is losses.kl


def test_a_weight_in_the_settings_beats_the_methods_own() -> None:
    terms = loss_terms(Distill(method="dfad", balance_weight=0.5, loss="js"))
    assert terms.balance == 0.5
    assert terms.distance is losses.js
    assert loss_terms(Distill(method="mad", balance_weight=0.0)).balance == 0


def test_a_conditional_generator_learns_its_class_from_the_label() -> None:
    terms = loss_terms(Distill(generator="sum", noise_dim=64))
    assert (terms.one_hot, terms.balance) == (0, 0)
    assert (terms.label, terms.norm) == (1, 1)
    assert terms.delta == math.sqrt(64)
    assert loss_terms(Distill(generator="sum", delta=3.0)).delta == 3.0
    assert loss_terms(Distill(generator="cat", balance_weight=2.0)).balance == 2


def test_an_unconditional_one_has_no_label_and_no_norm_term() -> None:
    terms = loss_terms(Distill(label_weight=7.0, norm_weight=7.0))
    assert (terms.label, terms.norm) == (0, 0)


def test_a_second_source_of_no_weight_is_not_sampled() -> None:
    assert recipe(Distill(lambda1=0.0), 3072).second_source is None


def test_madpipe_replays_one_draw_a_round_and_softens() -> None:
    options = Distill(method="madpipe", student_steps=7)
    own, terms = recipe(options, 3072), loss_terms(options)
    assert (own.is_replayed, own.draw_every, own.memory_size) == (True, 7, 16384)
    assert (own.student_batch_size, own.student_learning_rate) == (options.batch_size, 0.3)
    assert (terms.distance, terms.temperature, terms.disagreement) == (losses.kl, 4, losses.l1)


def test_other_methods_learn_from_all_that_was_drawn_in_a_step_each() -> None:
    options = Distill(method="mad", batch_size=24)
    own = recipe(options, 3072)
    assert (own.is_replayed, own.draw_every, own.memory_size) == (False, 1, 1)
    assert (own.student_batch_size, own.student_learning_rate) == (48, 0.05)
    assert recipe(Distill(method="abm", batch_size=24), 3072).student_batch_size == 24
    assert recipe(Distill(method="dfkd-mem"), 3072).memory_size == 2560


def test_a_method_without_a_memory_makes_room_for_none() -> None:
    assert recipe(Distill(method="mad", memory_size=2560), 3072).memory_size == 1
    assert recipe(Distill(method="dfkd-mem", memory_size=2560, lambda1=0), 3072).memory_size == 1
    assert recipe(Distill(method="dfkd-mem", memory_size=7), 3072).memory_size == 7


def test_the_replay_memory_of_large_images_is_bounded_in_bytes() -> None:
    options = Distill(method="madpipe")
    assert recipe(options, 3 * 224 * 224).memory_size == (512 << 20) // (3 * 224 * 224)
    assert recipe(Distill(method="madpipe", memory_size=9), 3 * 224 * 224).memory_size == 9


def test_settings_beat_what_the_method_says_of_the_student() -> None:
    options = Distill(
        method="madpipe",
        draw_every=2,
        student_batch_size=6,
        student_learning_rate=0.01,
        loss="l1",
        temperature=2.0,
        adversarial_loss="js",
    )
    own, terms = recipe(options, 3072), loss_terms(options)
    assert (own.draw_every, own.student_batch_size, own.student_learning_rate) == (2, 6, 0.01)
    assert (terms.distance, terms.disagreement) == (losses.l1, losses.js)
    assert (terms.temperature, terms.disagreement_temperature) == (2, 2)


def test_weight_decay_and_start_are_the_methods_unless_they_are_set() -> None:
    assert recipe(Distill(method="mad"), 192).student_weight_decay == 5e-4
    assert recipe(Distill(method="madpipe"), 192).student_weight_decay == 1e-4
    decay = recipe(Distill(method="madpipe", student_weight_decay=0.0), 192).student_weight_decay
    assert decay == 0.0
    assert starts_from_teacher(Distill())
    assert not starts_from_teacher(Distill(method="mad"))
    assert not starts_from_teacher(Distill(student_start="random"))


@pytest.mark.parametrize(
    ("options", "weight", "count"),
    [
        (Distill(), 0.0, 0),
        (Distill(images="a"), 1.0, 128),
        (Distill(images="a", student_batch_size=64, lambda2=0.3), 0.3, 64),
        (Distill(images="a", method="mad", batch_size=32), 1.0, 32),
        (Distill(images="a", lambda2=0), 0.0, 0),
    ],
)
def test_a_step_takes_as_many_unlabelled_images_as_of_one_other_source(
    options: Distill, weight: float, count: int
) -> None:
    assert (images_weight(options), images_in_step(options)) == (weight, count)
    own = recipe(options, 3072)
    assert own.step_images == own.student_batch_size + count

"""The methods differ in data alone, and a weight in the settings beats the method's own."""

import math
import typing
from typing import Any

import pytest

from pipeline.settings import Distill
from pipeline.settings.distill import MethodName
from stages.distill import losses
from stages.distill.methods import METHODS, loss_terms, second_source


def test_the_methods_are_those_that_the_settings_name() -> None:
    assert set(METHODS) == set(typing.get_args(MethodName))


@pytest.mark.parametrize(
    ("method", "source"),
    [("mad", "ema"), ("abm", None), ("dfkd-mem", "memory"), ("dfad", None), ("dfq", None)],
)
def test_every_method_has_its_second_source(method: Any, source: str | None) -> None:
    assert second_source(Distill(method=method)) == source


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
    assert second_source(Distill(lambda1=0.0)) is None

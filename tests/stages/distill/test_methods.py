"""The methods differ in data alone, and a given weight beats the method's own."""

import math
import typing
from typing import Any

import pytest

from pipeline.settings import Distill
from pipeline.settings.distill import MethodName
from stages.distill import losses
from stages.distill.methods import METHODS, terms


def test_the_methods_are_those_that_the_settings_name() -> None:
    assert set(METHODS) == set(typing.get_args(MethodName))


@pytest.mark.parametrize(
    ("method", "past"),
    [("mad", "ema"), ("abm", None), ("dfkd-mem", "memory"), ("dfad", None), ("dfq", None)],
)
def test_each_method_has_its_past(method: Any, past: str | None) -> None:
    assert terms(Distill(method=method)).past == past


def test_dfad_has_nothing_but_disagreement_of_logits() -> None:
    found = terms(Distill(method="dfad"))
    assert (found.batch_norm, found.one_hot, found.balance) == (0, 0, 0)
    assert found.adversarial == 1
    assert found.distance is losses.l1


def test_dfq_asks_for_balance_above_all() -> None:
    found = terms(Distill(method="dfq"))
    assert (found.batch_norm, found.one_hot, found.balance) == (1, 1, 20)
    assert found.distance is losses.kl


def test_a_weight_in_the_settings_beats_the_methods_own() -> None:
    found = terms(Distill(method="dfad", balance_weight=0.5, loss="js"))
    assert found.balance == 0.5
    assert found.distance is losses.js
    assert terms(Distill(method="mad", balance_weight=0.0)).balance == 0


def test_a_conditional_generator_is_told_by_its_label_what_to_make() -> None:
    found = terms(Distill(generator="sum", noise_dim=64))
    assert (found.one_hot, found.balance) == (0, 0)
    assert (found.label, found.norm) == (1, 1)
    assert found.delta == math.sqrt(64)
    assert terms(Distill(generator="sum", delta=3.0)).delta == 3.0
    assert terms(Distill(generator="cat", balance_weight=2.0)).balance == 2


def test_an_unconditional_one_has_no_label_and_no_norm_term() -> None:
    found = terms(Distill(label_weight=7.0, norm_weight=7.0))
    assert (found.label, found.norm) == (0, 0)


def test_a_past_of_no_weight_is_not_drawn() -> None:
    assert terms(Distill(lambda1=0.0)).past is None

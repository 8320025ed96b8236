"""The methods as data: what each student learns from, and what each generator seeks.

One loop plays all of them. A weight that the settings leave out is the method's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.settings import Distill
from stages.distill import losses
from stages.distill.losses import KD


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method of adversarial data-free distillation."""

    past: str | None
    """Where the second half of the student's images comes from: `ema`, `memory` or nowhere."""
    loss: str
    batch_norm_weight: float
    one_hot_weight: float
    balance_weight: float


def _madpipe(past: str | None) -> Method:
    return Method(past=past, loss="l1", batch_norm_weight=1, one_hot_weight=1, balance_weight=1)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        # Do et al. 2022; ABM there is the same without the EMA generator (after Micaelli &
        # Storkey 2019), DFKD-Mem the same with a memory (after Binici et al. 2022).
        "mad": _madpipe("ema"),
        "abm": _madpipe(None),
        "dfkd-mem": _madpipe("memory"),
        # Fang et al. 2019: nothing but the disagreement of logits.
        "dfad": Method(
            past=None, loss="l1", batch_norm_weight=0, one_hot_weight=0, balance_weight=0
        ),
        # Choi et al. 2020, with the weights that later comparisons give it.
        "dfq": Method(
            past=None, loss="kl", batch_norm_weight=1, one_hot_weight=1, balance_weight=20
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The settings with every absent weight filled in."""

    distance: KD
    temperature: float
    past: str | None
    lambda0: float
    lambda1: float
    adversarial: float
    batch_norm: float
    one_hot: float
    balance: float
    label: float
    norm: float
    delta: float


def terms(options: Distill) -> Terms:
    """Return what the settings mean for their method and kind of generator."""
    method = METHODS[options.method]
    conditional = options.generator != "uncond"
    # A label says which class to make, so neither certainty nor balance has to be asked for.
    free = 0.0 if conditional else 1.0
    return Terms(
        distance=losses.DISTANCES[options.loss or method.loss],
        temperature=options.temperature,
        past=method.past if options.lambda1 > 0 else None,
        lambda0=options.lambda0,
        lambda1=options.lambda1,
        adversarial=options.adversarial_weight,
        batch_norm=_given(options.batch_norm_weight, method.batch_norm_weight),
        one_hot=_given(options.one_hot_weight, method.one_hot_weight * free),
        balance=_given(options.balance_weight, method.balance_weight * free),
        label=options.label_weight if conditional else 0.0,
        norm=options.norm_weight if conditional else 0.0,
        delta=options.delta or options.noise_dim**0.5,
    )


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value

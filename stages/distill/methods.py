"""The methods as data: what each student learns from, and what each generator seeks.

One training loop runs all of them. A weight that the settings leave out is the method's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.settings import Distill
from stages.distill.losses import DISTANCES, LossTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method of adversarial data-free distillation."""

    second_source: str | None
    """Where the second half of the student's images comes from: `ema`, `memory` or nowhere."""
    loss: str
    batch_norm_weight: float
    one_hot_weight: float
    balance_weight: float


def _madpipe(second_source: str | None) -> Method:
    return Method(
        second_source=second_source,
        loss="l1",
        batch_norm_weight=1,
        one_hot_weight=1,
        balance_weight=1,
    )


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        # Do et al. 2022; ABM there is the same without the EMA generator (after Micaelli &
        # Storkey 2019), DFKD-Mem the same with a memory (after Binici et al. 2022).
        "mad": _madpipe("ema"),
        "abm": _madpipe(None),
        "dfkd-mem": _madpipe("memory"),
        # Fang et al. 2019: nothing but the disagreement of logits.
        "dfad": Method(
            second_source=None, loss="l1", batch_norm_weight=0, one_hot_weight=0, balance_weight=0
        ),
        # Choi et al. 2020, with the weights that later comparisons give it.
        "dfq": Method(
            second_source=None, loss="kl", batch_norm_weight=1, one_hot_weight=1, balance_weight=20
        ),
    }
)


def second_source(options: Distill) -> str | None:
    """Return where the second half of the student's images comes from; None: nowhere."""
    return METHODS[options.method].second_source if options.lambda1 > 0 else None


def loss_terms(options: Distill) -> LossTerms:
    """Return what the settings mean for their method and kind of generator."""
    method = METHODS[options.method]
    conditional = options.generator != "uncond"

    def weight(setting: float | None, default: float, *, of_label: bool = False) -> float:
        # A label says which class to make, so neither certainty nor balance has to be asked for.
        if setting is None:
            return 0.0 if of_label and conditional else default
        return setting

    return LossTerms(
        distance=DISTANCES[options.loss or method.loss],
        temperature=options.temperature,
        adversarial=options.adversarial_weight,
        batch_norm=weight(options.batch_norm_weight, method.batch_norm_weight),
        one_hot=weight(options.one_hot_weight, method.one_hot_weight, of_label=True),
        balance=weight(options.balance_weight, method.balance_weight, of_label=True),
        label=options.label_weight if conditional else 0.0,
        norm=options.norm_weight if conditional else 0.0,
        delta=options.delta or options.noise_dim**0.5,
    )

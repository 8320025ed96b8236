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
    """A method of adversarial data-free distillation; defaults are those of madpipe's MAD."""

    second_source: str | None = None
    """Where the second half of the student's images comes from: `ema`, `memory` or nowhere."""
    loss: str = "l1"
    batch_norm_weight: float = 1
    one_hot_weight: float = 1
    balance_weight: float = 1


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        # Do et al. 2022; ABM there is the same without the EMA generator (after Micaelli &
        # Storkey 2019), DFKD-Mem the same with a memory (after Binici et al. 2022).
        "mad": Method(second_source="ema"),
        "abm": Method(),
        "dfkd-mem": Method(second_source="memory"),
        # Fang et al. 2019: nothing but the disagreement of logits.
        "dfad": Method(batch_norm_weight=0, one_hot_weight=0, balance_weight=0),
        # Choi et al. 2020, with the weights that later comparisons give it.
        "dfq": Method(loss="kl", balance_weight=20),
    }
)


def second_source(options: Distill) -> str | None:
    """Return where the second half of the student's images comes from; None: nowhere."""
    return METHODS[options.method].second_source if options.lambda1 > 0 else None


def loss_terms(options: Distill) -> LossTerms:
    """Return what the settings mean for their method and kind of generator."""
    method = METHODS[options.method]
    conditional = options.generator != "uncond"

    # A label says which class to make, so neither certainty nor balance has to be asked for.
    unlabelled = 0.0 if conditional else 1.0

    def weight(setting: float | None, default: float) -> float:
        return default if setting is None else setting

    loss = options.loss or method.loss
    return LossTerms(
        distance=DISTANCES[loss],
        temperature=options.temperature,
        disagreement=DISTANCES[options.adversarial_loss or loss],
        disagreement_temperature=options.adversarial_temperature or options.temperature,
        adversarial=options.adversarial_weight,
        batch_norm=weight(options.batch_norm_weight, method.batch_norm_weight),
        one_hot=weight(options.one_hot_weight, method.one_hot_weight * unlabelled),
        balance=weight(options.balance_weight, method.balance_weight * unlabelled),
        label=options.label_weight if conditional else 0.0,
        norm=options.norm_weight if conditional else 0.0,
        delta=options.delta or options.noise_dim**0.5,
    )

"""The methods as data: what each student learns from, and what each generator seeks.

One training loop runs all of them. A weight that the settings leave out is the method's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.settings import Distill
from stages.distill.losses import DISTANCES, LossTerms

_MEMORY_BYTES = 512 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method of adversarial data-free distillation; defaults are those of madpipe's MAD."""

    second_source: str | None = None
    """Where the second half of the student's images comes from: `ema`, `memory` or nowhere."""
    is_replayed: bool = False
    """Whether all images go through a memory, and the student's batches are samples of it."""
    memory_size: int = 1
    student_learning_rate: float = 0.05
    student_weight_decay: float = 5e-4
    student_start: str = "random"
    loss: str = "l1"
    temperature: float = 1
    adversarial_loss: str | None = None
    """None: `loss`."""
    batch_norm_weight: float = 1
    one_hot_weight: float = 1
    balance_weight: float = 1


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        # MAD, its student trained as by Hinton et al. 2015 on a replay memory (Lin 1992) of both
        # generators, at a rate that a mean of absolute differences would not bear.
        "madpipe": Method(
            second_source="ema",
            is_replayed=True,
            memory_size=16384,
            student_learning_rate=0.3,
            student_weight_decay=1e-4,
            student_start="teacher",
            loss="kl",
            temperature=4,
            adversarial_loss="l1",
        ),
        # Do et al. 2022; ABM there is the same without the EMA generator (after Micaelli &
        # Storkey 2019), DFKD-Mem the same with a memory (after Binici et al. 2022).
        "mad": Method(second_source="ema"),
        "abm": Method(),
        "dfkd-mem": Method(second_source="memory", memory_size=2560),
        # Fang et al. 2019: nothing but the disagreement of logits.
        "dfad": Method(batch_norm_weight=0, one_hot_weight=0, balance_weight=0),
        # Choi et al. 2020, with the weights that later comparisons give it.
        "dfq": Method(loss="kl", balance_weight=20),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the student learns: the settings, and the method's own values where they have none."""

    second_source: str | None
    """Where the second half of the student's images comes from; None: nowhere."""
    is_replayed: bool
    draw_every: int
    student_batch_size: int
    """Images of all synthetic sources together in a student step."""
    image_batch_size: int
    """Unlabelled images beside them; 0 where there are none."""
    student_learning_rate: float
    student_weight_decay: float
    memory_size: int
    noise_batches: int
    """Batches of structured noise in a draw, beside those of the sources."""

    @property
    def step_images(self) -> int:
        """Images of all sources together in a student step."""
        return self.student_batch_size + self.image_batch_size


def starts_from_teacher(options: Distill) -> bool:
    """Return whether a student without weights of its own starts from its teacher's."""
    start = options.student_start or METHODS[options.method].student_start
    return start == "teacher"


def recipe(options: Distill, image_bytes: int) -> Recipe:
    """Return what the settings mean for their method, for images of so many bytes."""
    method = METHODS[options.method]
    second_source = method.second_source if options.lambda1 > 0 else None
    sources = int(options.lambda0 > 0 or second_source == "memory") + int(second_source is not None)
    sources += options.noise_batches or 0
    memory_size = 1
    if method.is_replayed or second_source == "memory":
        memory_size = options.memory_size or method.memory_size
    if method.is_replayed and options.memory_size is None:
        memory_size = max(1, min(memory_size, _MEMORY_BYTES // image_bytes))
    weight_decay = options.student_weight_decay
    drawn = sources * options.batch_size
    replayed = options.student_batch_size or options.batch_size
    return Recipe(
        second_source=second_source,
        is_replayed=method.is_replayed,
        draw_every=options.draw_every or (options.student_steps if method.is_replayed else 1),
        student_batch_size=replayed if method.is_replayed else drawn,
        image_batch_size=images_in_step(options),
        student_learning_rate=options.student_learning_rate or method.student_learning_rate,
        student_weight_decay=(
            method.student_weight_decay if weight_decay is None else weight_decay
        ),
        memory_size=memory_size,
        noise_batches=options.noise_batches or 0,
    )


def images_weight(options: Distill) -> float:
    """Return the weight of unlabelled images in the student's loss, 0 where there are none."""
    if options.images is None:
        return 0.0
    return 1.0 if options.lambda2 is None else options.lambda2


def images_in_step(options: Distill) -> int:
    """Return how many unlabelled images a student step takes: as many as of one other source."""
    if not images_weight(options):
        return 0
    is_replayed = METHODS[options.method].is_replayed
    return (options.student_batch_size if is_replayed else None) or options.batch_size


def loss_terms(options: Distill) -> LossTerms:
    """Return what the settings mean for their method and kind of generator."""
    method = METHODS[options.method]
    conditional = options.generator != "uncond"

    # A label says which class to make, so neither certainty nor balance has to be asked for.
    unlabelled = 0.0 if conditional else 1.0

    def weight(setting: float | None, default: float) -> float:
        return default if setting is None else setting

    loss = options.loss or method.loss
    temperature = options.temperature or method.temperature
    return LossTerms(
        distance=DISTANCES[loss],
        temperature=temperature,
        disagreement=DISTANCES[options.adversarial_loss or method.adversarial_loss or loss],
        disagreement_temperature=options.adversarial_temperature or temperature,
        adversarial=options.adversarial_weight,
        batch_norm=weight(options.batch_norm_weight, method.batch_norm_weight),
        one_hot=weight(options.one_hot_weight, method.one_hot_weight * unlabelled),
        balance=weight(options.balance_weight, method.balance_weight * unlabelled),
        label=options.label_weight if conditional else 0.0,
        norm=options.norm_weight if conditional else 0.0,
        delta=options.delta or options.noise_dim**0.5,
    )

"""The table [distill]: the method, its weights and its schedule."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.kinds import Count, Rate, Table, Weight


class Distill(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Momentum Adversarial Distillation. Defaults are madpipe's unless a source is named."""

    method: Annotated[
        Literal["mad", "abm"],
        Meta(description="mad, or abm: the same without the EMA generator"),
    ] = "mad"
    rounds: Annotated[
        Count, Meta(description="one round: the generator step, then the student steps")
    ] = 800
    student_steps: Annotated[Count, Meta(description="student steps in a round")] = 2
    batch_size: Annotated[
        int, Meta(ge=2, description="images drawn from each generator for one student step")
    ] = 128
    alpha: Annotated[
        float, Meta(ge=0.0, lt=1.0, description="momentum of the EMA generator (paper: 0.95)")
    ] = 0.95
    lambda0: Annotated[
        Weight, Meta(description="weight of the generator's samples in the student's loss")
    ] = 1.0
    lambda1: Annotated[Weight, Meta(description="weight of the EMA generator's samples")] = 1.0
    generator: Annotated[
        Literal["uncond"], Meta(description="kind of generator; uncond: noise alone")
    ] = "uncond"
    generator_width: Annotated[
        int, Meta(ge=2, multiple_of=2, description="channels of the generator's first map")
    ] = 128
    noise_dim: Annotated[Count, Meta(description="length of the noise vector")] = 100
    loss: Annotated[
        Literal["kl", "l1"],
        Meta(description="distance to the teacher: kl of predictions or l1 of logits"),
    ] = "l1"
    temperature: Annotated[Rate, Meta(description="of the softmax in the kl loss")] = 1.0
    student_learning_rate: Annotated[
        Rate, Meta(description="peak of the student's one-cycle schedule (SGD)")
    ] = 0.05
    student_weight_decay: Annotated[Weight, Meta(description="L2 penalty of the student")] = 5e-4
    generator_learning_rate: Annotated[Rate, Meta(description="of the generator (Adam)")] = 1e-3
    adversarial_weight: Annotated[
        Weight, Meta(description="how much the generator seeks disagreement")
    ] = 1.0
    batch_norm_weight: Annotated[
        Weight, Meta(description="how much its images match the teacher's BatchNorm moments")
    ] = 1.0
    one_hot_weight: Annotated[
        Weight, Meta(description="how much the teacher must be sure of its images")
    ] = 1.0
    balance_weight: Annotated[
        Weight, Meta(description="how much its images spread over the classes")
    ] = 1.0
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        Meta(description="arithmetic of the networks; auto: bf16 where the hardware has it"),
    ] = "auto"
    bank_size: Annotated[
        Count, Meta(description="synthetic images to keep for checks and calibration")
    ] = 512

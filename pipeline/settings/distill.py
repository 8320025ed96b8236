"""The table [distill]: the method, its weights and its schedule."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.kinds import Count, Rate, Table, Weight

MethodName = Literal["mad", "abm", "dfkd-mem", "dfad", "dfq"]
GeneratorName = Literal["uncond", "sum", "cat"]
LossName = Literal["kl", "l1", "js"]


class Distill(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Momentum Adversarial Distillation. Defaults are madpipe's unless a source is named."""

    method: Annotated[
        MethodName,
        Meta(
            description="mad; abm: without the EMA generator; dfkd-mem: with a memory of past "
            "samples in its place; dfad, dfq: abm with the loss sets of these"
        ),
    ] = "mad"
    rounds: Annotated[
        Count, Meta(description="one round: the generator steps, then the student steps")
    ] = 800
    generator_steps: Annotated[Count, Meta(description="generator steps in a round")] = 1
    student_steps: Annotated[Count, Meta(description="student steps in a round")] = 2
    draw_every: Annotated[
        Count,
        Meta(
            description="student steps on one draw of images; more is faster, since images and "
            "the teacher's logits are made once a draw"
        ),
    ] = 1
    batch_size: Annotated[
        int, Meta(ge=2, description="images drawn from each generator for one student step")
    ] = 128
    alpha: Annotated[
        float, Meta(ge=0.0, lt=1.0, description="momentum of the EMA generator (paper: 0.95)")
    ] = 0.95
    lambda0: Annotated[
        Weight, Meta(description="weight of the generator's samples in the student's loss")
    ] = 1.0
    lambda1: Annotated[
        Weight, Meta(description="weight of the EMA generator's samples, or of the memory's")
    ] = 1.0
    ema_batch_norm: Annotated[
        Literal["batch", "averaged"],
        Meta(
            description="what the EMA generator normalises by: its batch, or moving averages "
            "with the same momentum alpha"
        ),
    ] = "batch"
    joint_batch: Annotated[
        bool,
        Meta(
            description="whether both kinds of sample go through the student in one batch, and "
            "so share its BatchNorm statistics"
        ),
    ] = True
    augment: Annotated[
        Literal["none", "shift"],
        Meta(
            description="shift: move each image for the student by its own random step of at "
            "most an eighth of its side"
        ),
    ] = "shift"
    memory_size: Annotated[
        Count, Meta(description="images that dfkd-mem remembers, as uint8 on the device")
    ] = 2560
    generator: Annotated[
        GeneratorName,
        Meta(
            description="input of the generator: noise z, z + e_y, or [z; e_y], with the learned "
            "embedding e_y of a class"
        ),
    ] = "uncond"
    generator_width: Annotated[
        int, Meta(ge=2, multiple_of=2, description="channels of the generator's first map")
    ] = 128
    noise_dim: Annotated[Count, Meta(description="length of the noise vector")] = 100
    delta: Annotated[
        Rate | None,
        Meta(
            description="bound on the norm of a class embedding; absent: that of the noise, "
            "the square root of noise_dim",
        ),
    ] = None
    pretrain_steps: Annotated[
        int, Meta(ge=0, description="generator steps before the first round, not adversarial")
    ] = 0
    loss: Annotated[
        LossName | None,
        Meta(
            description="distance to the teacher: kl or js of predictions, l1 of logits; "
            "absent: the method's (l1; dfq: kl)"
        ),
    ] = None
    temperature: Annotated[Rate, Meta(description="of the softmax in kl and js")] = 1.0
    student_learning_rate: Annotated[
        Rate, Meta(description="peak of the student's one-cycle schedule (SGD)")
    ] = 0.05
    student_weight_decay: Annotated[Weight, Meta(description="L2 penalty of the student")] = 5e-4
    generator_learning_rate: Annotated[Rate, Meta(description="of the generator (Adam)")] = 1e-3
    adversarial_weight: Annotated[
        Weight, Meta(description="how much the generator seeks disagreement")
    ] = 1.0
    batch_norm_weight: Annotated[
        Weight | None,
        Meta(
            description="how much its images match the teacher's BatchNorm moments; absent: "
            "the method's (1; dfad: 0)"
        ),
    ] = None
    one_hot_weight: Annotated[
        Weight | None,
        Meta(
            description="how much the teacher must be sure of its images; absent: the "
            "method's (1; dfad and conditional generators: 0)"
        ),
    ] = None
    balance_weight: Annotated[
        Weight | None,
        Meta(
            description="how much its images spread over the classes; absent: the method's "
            "(1; dfq: 20; dfad and conditional generators: 0)"
        ),
    ] = None
    label_weight: Annotated[
        Weight, Meta(description="conditional: how much the teacher must see the label")
    ] = 1.0
    norm_weight: Annotated[
        Weight, Meta(description="conditional: how much embeddings longer than delta cost")
    ] = 1.0
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        Meta(description="arithmetic of the networks; auto: bf16 where the hardware has it"),
    ] = "auto"
    compile: Annotated[
        Literal["auto", "off", "on", "cuda-graphs"],
        Meta(description="torch.compile of the networks; auto: on with a GPU, off without"),
    ] = "auto"
    accumulation_steps: Annotated[
        Count, Meta(description="parts of a batch, one after the other in memory")
    ] = 1
    processes: Annotated[
        Count, Meta(description="processes that share each batch, one for each GPU or CPU group")
    ] = 1
    monitor: Annotated[
        Literal["off", "held-out"],
        Meta(
            description="held-out: follow the student's top-1 on the images of [data]; these "
            "influence neither training nor which student is kept"
        ),
    ] = "off"
    bank_size: Annotated[
        Count, Meta(description="synthetic images to keep for checks and calibration")
    ] = 512

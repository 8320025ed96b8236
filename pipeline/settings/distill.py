"""The table [distill]."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.kinds import Count, Name, Rate, Table, Weight

MethodName = Literal["madpipe", "mad", "abm", "dfkd-mem", "dfad", "dfq"]
GeneratorName = Literal["uncond", "sum", "cat"]
LossName = Literal["kl", "l1", "js"]
ScalesName = Literal["one", "sum"]


class Distill(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Momentum Adversarial Distillation. Defaults are madpipe's unless a source is named."""

    method: MethodName = "madpipe"
    """madpipe: mad, with a memory that the student's batches are samples of; mad; abm: without the
    EMA generator; dfkd-mem: with a memory of past samples in its place; dfad, dfq: abm with the
    loss sets of these"""
    rounds: Count = 400
    """one round: the generator steps, then the student steps"""
    generator_steps: Count = 1
    """generator steps in a round"""
    student_steps: Count = 5
    """student steps in a round"""
    draw_every: Count | None = None
    """student steps for one draw of images; more is faster, since images and the teacher's logits
    are made once a draw; absent: the method's (1; madpipe: all of a round)"""
    batch_size: Annotated[int, Meta(ge=2)] = 128
    """images drawn from each generator at once; a student step is on all of them, but with
    madpipe, see student_batch_size"""
    student_batch_size: Annotated[int, Meta(ge=2)] | None = None
    """madpipe: images in a student step, from the memory; absent: batch_size"""
    alpha: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.95
    """momentum of the EMA generator (paper: 0.95)"""
    lambda0: Weight = 1.0
    """weight of the generator's samples in the student's loss"""
    lambda1: Weight = 1.0
    """weight of the EMA generator's samples, or of the memory's"""
    images: Name | None = None
    """folder with real images without labels, of the same kind as the teacher's or of any kind, at
    any depth, relative to this file; the student learns from most of them, the rest are for
    calibration and a check of agreement; never the training set; absent: none, data-free"""
    lambda2: Weight | None = None
    """weight of the images in the student's loss, 0: only calibration and the check; absent: 1"""
    ema_batch_norm: Literal["batch", "averaged"] = "batch"
    """what the EMA generator normalises by: its batch, or moving averages with the same momentum
    alpha"""
    joint_batch: bool = True
    """whether both kinds of sample go through the student in one batch, and so share its BatchNorm
    statistics"""
    augment: Literal["none", "shift", "shift-flip"] = "shift"
    """shift: move each image for the student by its own random step of at most an eighth of its
    side; shift-flip: and mirror half of them"""
    colour_jitter: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """how far to change contrast, brightness and the balance of channels of each image for the
    student, at random: 0 not at all, 0.4 as is usual for photographs"""
    memory_size: Count | None = None
    """images to remember, as uint8 on the device; absent: the method's (dfkd-mem: 2560; madpipe:
    16384, or what 512 MiB hold)"""
    generator: GeneratorName = "uncond"
    """input of the generator: noise z, z + e_y, or [z; e_y], with the learned embedding e_y of a
    class"""
    generator_width: Annotated[int, Meta(ge=2, multiple_of=2)] = 64
    """channels of the generator's first map"""
    noise_dim: Count = 100
    """length of the noise vector"""
    delta: Rate | None = None
    """bound on the norm of a class embedding; absent: that of the noise, the square root of
    noise_dim"""
    pretrain_steps: Annotated[int, Meta(ge=0)] = 0
    """generator steps before the first round, not adversarial"""
    loss: LossName | None = None
    """distance to the teacher: kl or js of predictions, l1 of logits; absent: the method's (l1;
    madpipe, dfq: kl)"""
    temperature: Rate | None = None
    """of the softmax in kl and js; absent: the method's (1; madpipe: 4)"""
    student_learning_rate: Rate | None = None
    """peak of the student's one-cycle schedule (SGD); absent: the method's (0.05; madpipe: 0.3)"""
    student_weight_decay: Weight | None = None
    """L2 penalty of the student; absent: the method's (5e-4; madpipe: 1e-4)"""
    student_start: Literal["random", "teacher"] | None = None
    """where the student starts without student.weights; teacher: what it has in common with it, by
    names of layers; absent: the method's (random; madpipe: teacher)"""
    generator_learning_rate: Rate = 1e-3
    """of the generator (Adam)"""
    adversarial_weight: Weight = 1.0
    """how much the generator seeks disagreement"""
    adversarial_loss: LossName | None = None
    """the disagreement that it seeks; absent: the method's (loss; madpipe: l1)"""
    adversarial_temperature: Rate | None = None
    """of the softmax in it; absent: temperature"""
    batch_norm_weight: Weight | None = None
    """how much its images match the teacher's BatchNorm moments; absent: the method's (1; dfad:
    0)"""
    one_hot_weight: Weight | None = None
    """how much the teacher must be sure of its images; absent: the method's (1; dfad and
    conditional generators: 0)"""
    balance_weight: Weight | None = None
    """how much its images spread over the classes; absent: the method's (1; dfq: 20; dfad and
    conditional generators: 0)"""
    total_variation_weight: Weight = 0.0
    """how smooth its images must be: mean absolute difference of neighbouring pixels"""
    l2_weight: Weight = 0.0
    """how near they must be to the teacher's mean: mean square of normalised pixels"""
    colour_weight: Weight = 0.0
    """how much the channels of a batch must have the mean and std that the teacher normalises by"""
    feature_weight: Weight = 0.0
    """how much the teacher's features must have the moments that they have on images of noise"""
    noise_batches: Annotated[int, Meta(ge=0)] | None = None
    """batches of structured noise in a draw, of batch_size images each, that the student learns
    from as well; absent: 0, or 4 for a teacher without BatchNorm layers"""
    generator_scales: ScalesName = "one"
    """what an image is made from: the last map of the generator; sum: images of all its maps, added
    up"""
    enlarge: Annotated[int, Meta(ge=1, le=8)] = 1
    """how many times smaller the generators make an image, in height and in width, before it is
    enlarged bilinearly to what the teacher takes"""
    small_rounds: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """with enlarge: share of the rounds, the first ones, in which teacher and student see images
    before they are enlarged; of half the size, a round takes about a quarter of the time"""
    label_weight: Weight = 1.0
    """conditional: how much the teacher must see the label"""
    norm_weight: Weight = 1.0
    """conditional: how much embeddings longer than delta cost"""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """arithmetic of the networks; auto: bf16 where the hardware has it"""
    compile: Literal["auto", "off", "on", "cuda-graphs"] = "auto"
    """torch.compile of the networks; auto: off without a GPU, with one cuda-graphs, or on where a
    batch is accumulated or shared among processes"""
    accumulation_steps: Count = 1
    """parts of a batch, one after the other in memory"""
    processes: Count = 1
    """processes that share each batch, one for each GPU or CPU group"""
    monitor: Literal["off", "held-out"] = "off"
    """held-out: follow the student's top-1 on the images of [data]; these influence neither
    training nor which student is kept"""
    bank_size: Count = 512
    """synthetic images to keep for checks and calibration"""

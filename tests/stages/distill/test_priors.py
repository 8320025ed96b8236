"""Each prior against a value computed by hand, and which of them a teacher's generator has."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.classifier import Classifier
from models.generator import Generator
from models.resnet import CifarResNet
from pipeline.settings import Distill
from stages.distill import priors
from stages.distill.batch_norm import BNStatsLoss
from stages.distill.distributed.group import Group
from stages.distill.noise_images import NoiseImages
from stages.distill.priors import Priors
from stages.distill.trainer import DistillTrainer
from stages.training.device import Compute


def _priors(teacher: Classifier, **weights: float) -> Priors:
    options = Distill(**{f"{name}_weight": value for name, value in weights.items()})  # type: ignore[arg-type]
    return Priors(BNStatsLoss(teacher), options, (8, 8))


def _group_norm(mean: float = 0.25, std: float = 0.5) -> Classifier:
    torch.manual_seed(5)
    backbone = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 5),
    )
    return Classifier(backbone, (mean,), (std,)).eval()


def _batch_norm() -> Classifier:
    torch.manual_seed(5)
    backbone = CifarResNet(depth=8, width=8, in_channels=1, num_classes=5)
    return Classifier(backbone, (0.25,), (0.5,)).eval()


def _trainer(teacher: Classifier, **options: Any) -> DistillTrainer:
    plain = {"rounds": 4, "batch_size": 6, "generator_width": 8, "noise_dim": 5}
    torch.manual_seed(11)
    return DistillTrainer(
        teacher=teacher,
        student=_batch_norm(),
        generator=Generator(noise_dim=5, image_size_px=8, channels=1, width=8),
        options=Distill(**plain | options),
        compute=Compute(torch.device("cpu"), "fp32"),
        rng=torch.Generator().manual_seed(7),
    )


def test_total_variation_is_the_mean_step_down_plus_the_mean_step_right() -> None:
    x_BCHW = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]]])
    # Down: 0.5 and 0.5. Right: 1 and 0.
    assert priors.total_variation(x_BCHW).item() == pytest.approx(0.5 + 0.5)


def test_the_squared_norm_is_a_mean_of_squares() -> None:
    assert priors.squared_norm(torch.tensor([[[[1.0, -3.0]]]])).item() == pytest.approx(5.0)


def test_colour_statistics_are_those_of_each_channel_over_the_batch() -> None:
    first_BHW = torch.tensor([[[3.0]], [[3.0]]])  # mean 3, var 0
    second_BHW = torch.tensor([[[6.0]], [[2.0]]])  # mean 4, var 4
    x_BCHW = torch.stack([first_BHW, second_BHW], dim=1)
    expected = (3**2 + 4**2) ** 0.5 + ((0 - 1) ** 2 + (4 - 1) ** 2) ** 0.5
    assert priors.colour_statistics(x_BCHW, Group()).item() == pytest.approx(expected)


def test_moments_are_compared_relative_to_those_wanted() -> None:
    seen = torch.tensor([4.0, 0.0]), torch.tensor([9.0, 20.0])
    wanted = torch.tensor([1.0, 4.0]), torch.tensor([9.0, 16.0])
    # ||(3, -4)|| / ||(3, 4)|| + ||(0, 4)|| / ||(9, 16)||
    expected = 5 / 5 + 4 / (81 + 256) ** 0.5
    assert priors.moment_distance(seen, wanted).item() == pytest.approx(expected)


def test_the_priors_of_images_add_up_by_their_weights() -> None:
    teacher, x_BCHW = _group_norm(), torch.rand(3, 1, 8, 8)
    terms = _priors(teacher, total_variation=0.3, l2=0.5, colour=0.7)
    logits_BK, bn_stats_terms, loss = terms(x_BCHW)
    normalised_BCHW = (x_BCHW - 0.25) / 0.5
    expected = 0.3 * priors.total_variation(x_BCHW) + 0.5 * normalised_BCHW.square().mean()
    expected = expected + 0.7 * priors.colour_statistics(normalised_BCHW, Group())
    assert loss.item() == pytest.approx(expected.item())
    assert bn_stats_terms == []
    assert torch.equal(logits_BK, teacher(x_BCHW))


def test_features_are_held_against_those_on_noise() -> None:
    teacher = _group_norm()
    terms = _priors(teacher, feature=2.0)
    rng = torch.Generator().manual_seed(0)
    noise_BCHW = NoiseImages(rng, teacher, (8, 8)).sample(512)
    with torch.no_grad():
        of_noise = terms(noise_BCHW)[2]
        of_others = terms(torch.rand(64, 1, 8, 8))[2]
    assert of_noise.item() == pytest.approx(0.0, abs=1e-6)
    with torch.no_grad():
        h_BCHW = teacher.backbone[:2]((noise_BCHW - 0.25) / 0.5)  # type: ignore[index]
    mean_C, var_C = h_BCHW.mean(dim=(0, 2, 3)), h_BCHW.var(dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(terms._under_noise[0], (mean_C, var_C))
    assert of_others > 0.1


def test_the_terms_carry_gradients_to_the_images() -> None:
    terms = _priors(_group_norm(), total_variation=1.0, l2=1.0, colour=1.0, feature=1.0)
    x_BCHW = torch.rand(3, 1, 8, 8, requires_grad=True)
    terms(x_BCHW)[2].backward()
    assert x_BCHW.grad is not None
    assert x_BCHW.grad.abs().min() > 0


@pytest.mark.parametrize(
    ("network", "kinds"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.LayerNorm(3)),
         [nn.GroupNorm, nn.LayerNorm]),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 2)), [nn.Conv2d]),
        (nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), [nn.Linear]),
        (nn.Sequential(nn.Linear(4, 2)), []),
    ],
)  # fmt: skip
def test_features_are_those_of_normalisers_or_else_of_what_has_weights(
    network: nn.Module, kinds: list[type[nn.Module]]
) -> None:
    assert [type(layer) for layer in priors.feature_layers(network)] == kinds


def test_channels_of_tokens_come_last_and_those_of_maps_second() -> None:
    tokens_BNC, x_BHWC = torch.rand(2, 5, 3), torch.rand(2, 4, 4, 3)

    class LayerNorm2d(nn.LayerNorm):
        """As torchvision's: of maps."""

    assert priors._as_map(nn.LayerNorm(3), tokens_BNC).shape == (10, 3, 1, 1)
    assert priors._as_map(nn.LayerNorm(3), x_BHWC).shape == (32, 3, 1, 1)
    assert priors._as_map(LayerNorm2d(4), x_BHWC).shape == (2, 4, 4, 3)
    assert priors._as_map(nn.GroupNorm(2, 4), x_BHWC).shape == (2, 4, 4, 3)


def _losses(trainer: DistillTrainer) -> list[Tensor]:
    values = []
    for number in range(3):
        values.append(trainer.generator_step())
        values.append(trainer.student_step(number, [trainer.sample_batch()]))
    return values


def test_a_teacher_with_batch_norm_trains_as_if_there_were_no_priors() -> None:
    trainer, plain = _trainer(_batch_norm()), _trainer(_batch_norm())
    bn_stats = plain.bn_stats
    plain.priors.forward = lambda x_BCHW: (*bn_stats(x_BCHW), None)  # type: ignore[method-assign]
    assert trainer.options == Distill(rounds=4, batch_size=6, generator_width=8, noise_dim=5)
    assert trainer.recipe.noise_batches == 0
    assert _losses(trainer) == _losses(plain)


def test_a_teacher_without_batch_norm_gets_noise_and_a_note() -> None:
    trainer = _trainer(_group_norm())
    batches = trainer.recipe.noise_batches
    assert batches > 0
    x_BCHW = trainer.sample_batch().x_BCHW
    assert len(x_BCHW) == (2 + batches) * 6
    assert len(trainer.memory) == len(x_BCHW)
    note = priors.why_no_moments(trainer.options, trainer.bn_stats)
    assert note is not None
    assert f"distill.noise_batches = {batches}" in note


def test_what_the_settings_say_comes_before_the_default() -> None:
    trainer = _trainer(_group_norm(), noise_batches=0, colour_weight=0.5)
    assert len(trainer.sample_batch().x_BCHW) == 2 * 6
    note = priors.why_no_moments(trainer.options, trainer.bn_stats)
    assert note is not None
    assert note.endswith("its generator has colour_weight")
    bare = _trainer(_group_norm(), noise_batches=0)
    assert (priors.why_no_moments(bare.options, bare.bn_stats) or "").endswith(
        "nothing is assumed instead (distill.noise_batches = 0)"
    )


@pytest.mark.parametrize(
    ("teacher", "options"),
    [
        (_batch_norm(), {}),
        (_batch_norm(), {"batch_norm_weight": 0.0}),
        (_group_norm(), {"method": "dfad"}),
        (_group_norm(), {"batch_norm_weight": 0.0}),
    ],
)
def test_noise_stands_in_for_moments_that_were_wanted_and_are_missing(
    teacher: Classifier, options: dict[str, Any]
) -> None:
    trainer = _trainer(teacher, **options)
    assert trainer.recipe.noise_batches == 0
    assert priors.why_no_moments(trainer.options, trainer.bn_stats) is None


def test_a_priors_weight_reaches_the_generators_loss() -> None:
    plain = _trainer(_group_norm()).generator_step()
    smooth = _trainer(_group_norm(), total_variation_weight=2.0).generator_step()
    trainer = _trainer(_group_norm())
    with torch.no_grad():
        x_BCHW = trainer.generator(*trainer.sampler.sample(6))
    expected = plain + 2 * priors.total_variation(x_BCHW)
    assert smooth.item() == pytest.approx(expected.item(), rel=1e-5)

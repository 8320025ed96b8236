"""Images of structured noise: their statistics, their spectrum, and their seed."""

import pytest
import torch
from torch import nn

from models.classifier import Classifier
from stages.distill import noise_images
from stages.distill.distributed.group import Group
from stages.distill.noise_images import NoiseImages, coloured, frequencies, structured


def _noise(seed: int = 0, *, std: float = 0.05, group: Group | None = None) -> NoiseImages:
    teacher = Classifier(nn.Identity(), (0.5,), (std,))
    return NoiseImages(torch.Generator().manual_seed(seed), teacher, (8, 12), group)


def test_images_have_the_mean_and_about_the_std_of_the_teacher() -> None:
    x_BCHW = _noise().sample(256)
    assert x_BCHW.shape == (256, 1, 8, 12)
    assert x_BCHW.mean().item() == pytest.approx(0.5, abs=0.01)
    # The contrast raises the spread by a factor of 1 to 4.
    assert 0.05 < x_BCHW.std().item() < 0.2


def test_values_stay_in_0_to_1() -> None:
    x_BCHW = _noise(std=1.0).sample(16)
    assert (x_BCHW.min().item(), x_BCHW.max().item()) == (0.0, 1.0)


def test_one_seed_gives_the_same_images_and_another_others() -> None:
    assert torch.equal(_noise().sample(4), _noise().sample(4))
    assert not torch.equal(_noise().sample(4), _noise(1).sample(4))


def test_processes_sample_the_images_of_one_and_keep_their_share() -> None:
    class Half(Group):
        is_distributed = True

    whole_BCHW = _noise().sample(6)
    for rank in range(2):
        half_BCHW = _noise(group=Half(rank=rank, size=2)).sample(3)
        assert torch.equal(half_BCHW, whole_BCHW[3 * rank : 3 * rank + 3])


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_amplitudes_fall_by_the_exponent(exponent: float) -> None:
    white_BCHW = torch.randn(512, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    x_BCHW = coloured(white_BCHW, torch.full((512,), exponent), frequencies(32, 32))
    power_HW = torch.fft.fft2(x_BCHW).abs().square().mean(dim=(0, 1))
    assert (power_HW[0, 2] / power_HW[0, 8]).sqrt().item() == pytest.approx(4**exponent, rel=0.1)
    torch.testing.assert_close(x_BCHW.mean(dim=(1, 2, 3)), torch.zeros(512), rtol=0, atol=1e-5)
    torch.testing.assert_close(x_BCHW.square().mean(dim=(1, 2, 3)), torch.ones(512))


def test_lines_are_where_the_clouds_of_the_same_noise_cross_their_mean() -> None:
    white_BCHW = torch.randn(1, 2, 32, 32, generator=torch.Generator().manual_seed(2))
    amounts_BA = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.5], [1.0, 0.0, 1.0, 0.0, 0.5]])
    clouds_CHW, lines_CHW = structured(
        white_BCHW.expand(2, -1, -1, -1), amounts_BA, frequencies(32, 32)
    )
    # Where clouds are nearest to the noise's mean, lines are brightest.
    spread = (clouds_CHW - clouds_CHW.flatten()[lines_CHW.argmax()]).abs()
    correlation = torch.corrcoef(torch.stack([spread.flatten(), lines_CHW.flatten()]))[0, 1]
    assert correlation.item() < -0.7


def test_channels_have_as_much_in_common_as_the_amount_says() -> None:
    white_BCHW = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(3))
    amounts_BA = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]])
    apart_CHW, alike_CHW = structured(white_BCHW, amounts_BA, frequencies(64, 64))
    assert torch.corrcoef(apart_CHW.flatten(1))[0, 1].abs().item() < 0.3
    torch.testing.assert_close(alike_CHW[0], alike_CHW[1])


def test_a_teacher_that_normalises_by_itself_gets_images_around_the_middle() -> None:
    for std in (1.0, 1 / 255):
        teacher = Classifier(nn.Identity(), (0.0,), (std,))
        x_BCHW = NoiseImages(torch.Generator().manual_seed(0), teacher, (8, 12)).sample(256)
        assert x_BCHW.mean().item() == pytest.approx(0.5, abs=0.05)


def test_large_images_are_filtered_a_few_at_a_time_and_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole_BCHW = _noise().sample(5)
    monkeypatch.setattr(noise_images, "_MOST_VALUES", 1000)
    torch.testing.assert_close(_noise().sample(5), whole_BCHW)

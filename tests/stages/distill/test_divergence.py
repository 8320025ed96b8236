"""The divergence: what a generator's step changes for the student, measured without a trace."""

import torch

from models.classifier import Classifier
from models.generator import Generator
from stages.distill.distributed.group import Group
from stages.distill.divergence import Divergence
from stages.training.device import Compute
from tests.stages.tiny import resnet8


def _players() -> tuple[Classifier, Generator]:
    student = Classifier(resnet8(), (0.3,), (0.4,)).train()
    return student, Generator(noise_dim=3, image_size_px=8, channels=1, width=4).train()


def _divergence(student: Classifier, generator: Generator) -> Divergence:
    compute = Compute(torch.device("cpu"), "fp32")
    return Divergence(student, {"generator": generator}, compute, Group())


def test_no_step_is_no_divergence_and_a_step_is_one() -> None:
    student, generator = _players()
    divergence = _divergence(student, generator)
    before = divergence.look()
    assert divergence.between(before, divergence.look())["divergence_generator"].item() == 0.0
    with torch.no_grad():
        for each in generator.parameters():
            each.add_(0.3 * torch.randn_like(each))
    assert divergence.between(before, divergence.look())["divergence_generator"].item() > 1e-6


def test_looking_leaves_all_as_it_was() -> None:
    student, generator = _players()
    divergence = _divergence(student, generator)
    torch.manual_seed(5)
    chance = torch.get_rng_state()
    before = [each.clone() for n in (student, generator) for each in n.state_dict().values()]
    divergence.look()
    after = [each for n in (student, generator) for each in n.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(torch.get_rng_state(), chance)
    assert student.training
    assert generator.training

"""What a teacher gives besides logits becomes logits, and an embedding is refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.classifier import Classifier
from models.output_kind import OutputKind
from pipeline.errors import StageError
from stages.networks import outputs
from tests.stages.tiny import card

Change = Callable[[Tensor], Tensor]


class _Changed(nn.Module):
    def __init__(self, change: Change, classes: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(64, classes)
        self.change = change

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.change(self.fc(x_BCHW.flatten(1)))


def _network(change: Change, classes: int) -> Classifier:
    return Classifier(_Changed(change, classes), (0.3,), (0.4,)).eval()


@pytest.mark.parametrize(
    ("change", "classes", "kind"),
    [
        (lambda z: z, 3, "logits"),
        (lambda z: z.log_softmax(1), 3, "logits"),
        (lambda z: z.sigmoid(), 3, "logits"),
        (lambda z: z.softmax(1), 3, "probabilities"),
        (lambda z: z, 1, "one-logit"),
        (lambda z: z[:, 0], 1, "one-logit"),
        (lambda z: z.sigmoid(), 1, "one-probability"),
        (lambda z: z.sigmoid()[:, 0], 1, "one-probability"),
    ],
)
def test_the_kind_of_the_outputs_is_seen_and_said(
    change: Change, classes: int, kind: OutputKind
) -> None:
    seen, note = outputs.recognise(_network(change, classes), card(), "here")
    assert seen == kind
    assert (note is None) == (kind == "logits")


@pytest.mark.parametrize(
    ("change", "classes", "kind"),
    [(lambda z: z.softmax(1), 3, "probabilities"), (lambda z: z.sigmoid(), 1, "one-probability")],
)
def test_logits_have_the_probabilities_that_the_network_gave(
    change: Change, classes: int, kind: OutputKind
) -> None:
    network = _network(change, classes)
    x_BCHW = torch.rand(5, 1, 8, 8)
    raw = network(x_BCHW)
    network.outputs = kind
    p_BK = network(x_BCHW).softmax(1)
    torch.testing.assert_close(p_BK if classes > 1 else p_BK[:, 1:], raw)


def test_of_one_logit_softmax_makes_its_sigmoid() -> None:
    network = _network(lambda z: z, 1)
    x_BCHW = torch.rand(5, 1, 8, 8)
    raw = network(x_BCHW)
    network.outputs = "one-logit"
    torch.testing.assert_close(network(x_BCHW).softmax(1)[:, 1:], raw.sigmoid())


def test_impossible_classes_have_finite_logits_and_gradients() -> None:
    network = _network(lambda z: (1e4 * z).softmax(1), 3)
    network.outputs = "probabilities"
    x_BCHW = torch.rand(5, 1, 8, 8, requires_grad=True)
    logits_BK = network(x_BCHW)
    logits_BK.sum().backward()
    assert logits_BK.isfinite().all()
    assert x_BCHW.grad is not None
    assert x_BCHW.grad.isfinite().all()


def test_an_embedding_is_refused() -> None:
    with pytest.raises(StageError, match=r"^here: .*gives an embedding.*teacher\.output"):
        outputs.recognise(_network(functional.normalize, 5), card(), "here")

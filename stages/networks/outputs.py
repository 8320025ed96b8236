"""What a teacher's outputs are where they are no logits, by its answers to a few images.

Shape legend: B batch, C channel, H W space, K classes.
"""

import torch
from torch import Tensor

from models.classifier import Classifier
from models.output_kind import OutputKind
from pipeline.stage import StageError
from stages.networks import probe
from stages.networks.card import Card

_LARGE = 1e3
"""Times a usual image: what is a logit leaves the range of probabilities for some of these."""
_UNIT_TOLERANCE = 1e-3
_NOTES: dict[OutputKind, str] = {
    "probabilities": "gives probabilities, whose logarithm is taken for logits",
    "one-logit": "gives one logit for an image, taken for that of the second of two classes",
    "one-probability": "gives one probability for an image, taken for that of the second of two "
    "classes",
}


@torch.no_grad()
def recognise(network: Classifier, card: Card, place: str) -> tuple[OutputKind, str | None]:
    """Return what the backbone of a restored network gives, and a note where it is no logits.

    The network, on the CPU, and torch's random numbers are left as they were.

    Args:
        network: With its weights.
        card: Of the network.
        place: The setting that names it, for messages.

    Raises:
        StageError: The outputs are an embedding, whose parts stand for no classes.
    """
    was_training, known = network.training, network.outputs
    network.eval()
    network.outputs = "logits"
    try:
        x_BCHW = probe.probe_images(card)
        outputs = network(torch.cat([x_BCHW, _LARGE * x_BCHW, -_LARGE * x_BCHW])).float()
    finally:
        network.train(was_training)
        network.outputs = known
    kind: OutputKind = "logits"
    is_unit = bool((outputs >= 0).all() and (outputs <= 1).all())
    if outputs[0].numel() == 1:
        kind = "one-probability" if is_unit else "one-logit"
    elif outputs.isfinite().all() and probe.output_kind(outputs) == probe.PROBABILITIES:
        kind = "probabilities"
    elif _is_embedding(outputs):
        raise StageError(
            place,
            f"{card.called} gives an embedding, not logits (rows of {outputs.shape[1]} numbers, "
            "all of length 1)",
            "give the network with its classifying layer, or name that output in teacher.output",
        )
    note = f"{place}: {card.called} {_NOTES[kind]}" if kind != "logits" else None
    return kind, note


def _is_embedding(outputs_BK: Tensor) -> bool:
    """Return whether all rows have length 1, as those of networks that compare images do."""
    lengths_B = outputs_BK.norm(dim=1)
    return bool(((lengths_B - 1).abs() < _UNIT_TOLERANCE).all())

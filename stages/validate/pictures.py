"""The worst images of a validation: which they are, and what is left of them for the report.

Shape legend: N images, B some of them, K classes, C channel, H W space.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier import Classifier
from pipeline.gates import pictures as records
from pipeline.gates.pictures import ActivationMap, Answer, Picture, Pictures, WorstImage
from pipeline.stage import Context
from stages.data.images import Images
from stages.networks.predict import cpu_batch_size
from stages.validate import grad_cam, thumbnails
from stages.validate.accuracy import Logits

MAPPED = 8
"""How many of the images have maps of where the networks look."""
MOST_BYTES = 1_200_000
"""Of all encoded images on the page, on which those with maps are drawn again with the maps."""
_MOST_BYTES_OF_ONE = 32 << 10
_NETWORKS = ("student", "graph", "engine")
"""Whose errors are looked for; what the ONNX file answers is the student's."""


def leave(ctx: Context, logits: Logits, images: Images, networks: Mapping[str, Classifier]) -> None:
    """Leave the worst images of a run, with the maps of some networks, for its report."""
    options = ctx.settings.validate
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    drawn = draw(
        logits,
        images,
        {name: network.to(device) for name, network in networks.items()},
        kind=options.images,
        count=options.pictures,
    )
    records.write(ctx.output("pictures"), drawn)


def draw(
    logits: Logits,
    images: Images,
    networks: Mapping[str, Classifier],
    *,
    kind: Literal["held-out", "bank"],
    count: int,
) -> Pictures:
    """Return the worst images, drawn, with the answers of each network.

    Args:
        logits: By network, of shape NK, on `images`.
        images: Those that the networks were compared on; labelled where `kind` is "held-out".
        networks: Those whose maps are wanted, on the CPU or a GPU.
        kind: Whether images are real ones.
        count: How many to draw at most.
    """
    answers = {name: logits[name] for name in ("teacher", *_NETWORKS) if name in logits}
    y_N = images.y_N.numpy() if kind == "held-out" else None
    wrong_N = worst_first(answers, y_N)
    chosen_B = wrong_N[:count]
    maps, absent = _maps(networks, images, chosen_B[:MAPPED])
    # Each image is on the page once, and those with maps once more beside them and under each.
    mapped = [len(own) for own in maps.values()]
    drawn = len(chosen_B) + max(mapped, default=0) + sum(mapped)
    most_bytes = min(_MOST_BYTES_OF_ONE, MOST_BYTES // max(1, drawn))
    described = _described(answers, y_N, images.classes, chosen_B)
    x_BCHW = images.x_NCHW[torch.from_numpy(chosen_B)].numpy() if len(chosen_B) else ()
    return Pictures(
        kind=kind,
        wrong=len(wrong_N),
        n=len(images),
        pictures=tuple(
            Picture(
                worst=worst,
                image=thumbnails.encode(x_CHW, most_bytes),
                maps={name: own[place] for name, own in maps.items() if place < len(own)},
            )
            for place, (worst, x_CHW) in enumerate(zip(described, x_BCHW, strict=True))
        ),
        maps_absent=absent,
    )


def worst_first(logits: Logits, y_N: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the indices of the images that a network after the teacher gets wrong, worst first.

    Images that the teacher gets right come first, and in both groups those for whose class the
    probability falls most from the teacher to the worse of the others; then the first ones. Without
    labels what the teacher answers counts as right.

    Args:
        logits: By network, of shape NK, the teacher's among them.
        y_N: The labels, or None.
    """
    right_N = logits["teacher"].argmax(axis=1) if y_N is None else y_N
    rows_N = np.arange(len(right_N))
    others = [logits_NK for name, logits_NK in logits.items() if name != "teacher"]
    is_wrong_N = np.zeros(len(right_N), bool)
    least_N = np.ones(len(right_N))
    for logits_NK in others:
        is_wrong_N |= logits_NK.argmax(axis=1) != right_N
        least_N = np.minimum(least_N, probabilities(logits_NK)[rows_N, right_N])
    teacher_is_wrong_N = logits["teacher"].argmax(axis=1) != right_N
    fall_N = probabilities(logits["teacher"])[rows_N, right_N] - least_N
    order_N = np.lexsort((rows_N, -fall_N, teacher_is_wrong_N))
    return order_N[is_wrong_N[order_N]]


def probabilities(logits_NK: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the softmax of logits, of shape NK."""
    wide_NK = logits_NK.astype(np.float64)
    powers_NK = np.exp(wide_NK - wide_NK.max(axis=1, keepdims=True))
    return np.asarray(powers_NK / powers_NK.sum(axis=1, keepdims=True))


def _described(
    logits: Logits,
    y_N: NDArray[np.int64] | None,
    classes: Sequence[str],
    chosen_B: NDArray[np.int64],
) -> list[WorstImage]:
    """Return the label of each chosen image, and what the networks answer."""
    teacher_B = logits["teacher"][chosen_B].argmax(axis=1)
    right_B = teacher_B if y_N is None else y_N[chosen_B]
    answers: list[dict[str, Answer]] = [{} for _ in chosen_B]
    for name, logits_NK in logits.items():
        p_BK = probabilities(logits_NK[chosen_B])
        for place, k in enumerate(p_BK.argmax(axis=1)):
            answers[place][name] = Answer(
                class_name=classes[k],
                confidence=min(1.0, float(p_BK[place, k])),
                is_right=bool(k == right_B[place]),
            )
    return [
        WorstImage(
            index=int(index),
            label=None if y_N is None else classes[y_N[index]],
            answers=answers[place],
        )
        for place, index in enumerate(chosen_B)
    ]


def _maps(
    networks: Mapping[str, Classifier], images: Images, chosen_B: NDArray[np.int64]
) -> tuple[dict[str, list[ActivationMap]], dict[str, str]]:
    """Return the maps of each network, and for those without any the reason."""
    maps: dict[str, list[ActivationMap]] = {}
    absent: dict[str, str] = {}
    if not len(chosen_B):
        return maps, absent
    for name, network in networks.items():
        x_BCHW = images.batch(torch.from_numpy(chosen_B), network.mean_1C11.device)
        batch_size = cpu_batch_size(x_BCHW[0, 0].numel())
        looks = grad_cam.looks(network, x_BCHW, batch_size=batch_size)
        if looks.absent is not None:
            absent[name] = looks.absent
        else:
            maps[name] = [
                ActivationMap(
                    height=map_HW.shape[0], width=map_HW.shape[1], values=map_HW.tobytes()
                )
                for map_HW in looks.maps
            ]
    return maps, absent

"""Confusions are counted from what is stored, and pictures of many classes are readable."""

import base64
import io
import re

import numpy as np
from PIL import Image

from pipeline.gates.measurements import DatasetPart, Samples
from pipeline.report import confusion

DATASET = DatasetPart(kind="held-out", n=6, id="0" * 64)
SAMPLES = Samples(
    dataset=DATASET,
    labels=(0, 0, 0, 1, 1, 2),
    predictions={
        "teacher": (0, 0, 1, 1, 1, 2),
        "student": (0, 0, 0, 0, 0, 0),
        "engine": (0, 1, 1, 1, 2, 2),
    },
)
NAMES = ("a", "b", "c")


def test_counts_are_of_the_engine_and_errors_are_compared_with_the_teachers() -> None:
    counted = confusion.count(SAMPLES, NAMES)
    assert counted is not None
    assert counted.network == "engine"
    assert counted.rows == [[1, 2, 0], [0, 1, 1], [0, 0, 1]]
    assert counted.pairs == [
        confusion.Pair("a", "b", n=2, teacher_n=1, of=3),
        confusion.Pair("b", "c", n=1, teacher_n=0, of=2),
    ]


def test_the_student_stands_for_an_engine_that_did_not_run() -> None:
    predictions = {"teacher": SAMPLES.predictions["teacher"], "student": (0, 0, 0, 0, 0, 0)}
    counted = confusion.count(
        Samples(dataset=DATASET, labels=SAMPLES.labels, predictions=predictions), NAMES
    )
    assert counted is not None
    assert counted.network == "student"
    assert [row[0] for row in counted.rows] == [3, 2, 1]


def test_without_labels_names_or_networks_there_is_none() -> None:
    unlabelled = Samples(dataset=DATASET, predictions=SAMPLES.predictions)
    teacher_alone = {"teacher": SAMPLES.predictions["teacher"]}
    alone = Samples(dataset=DATASET, labels=SAMPLES.labels, predictions=teacher_alone)
    assert confusion.count(unlabelled, NAMES) is None
    assert confusion.count(SAMPLES, None) is None
    assert confusion.count(SAMPLES, NAMES[:2]) is None
    assert confusion.count(alone, NAMES) is None


def pixels(svg: str) -> np.ndarray:
    """Return the picture in a plot, of shape HW4."""
    content = re.search(r'base64,([^"]+)"', svg)
    assert content
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content[1]))).convert("RGBA"))


def test_a_cell_is_the_more_opaque_the_more_images_it_counts() -> None:
    counts = {(0, 0): 100, (1, 0): 10, (20, 29): 1}
    names = [f"class {k}" for k in range(30)]
    svg = confusion.picture(confusion.Confusion("engine", names, counts, []), "t")
    opacity_HW = pixels(svg)[..., 3]
    scale = len(opacity_HW) // 30
    most, some, least = (
        int(opacity_HW[row * scale + scale // 2, column * scale + scale // 2])
        for row, column in counts
    )
    assert most == 255
    assert most - some == some - least > 50
    assert (opacity_HW > 0).sum() == 3 * scale**2


def test_a_thousand_classes_share_cells_that_are_large_enough_to_be_seen() -> None:
    counts = {(k, k): 50 for k in range(1000)} | {(3, 999): 1}
    names = [f"class {k}" for k in range(1000)]
    counted = confusion.Confusion("engine", names, counts, [])
    assert confusion.classes_in_a_cell(counted) == 4
    svg = confusion.picture(counted, "t")
    assert len(svg) < 200_000
    opacity_HW = pixels(svg)[..., 3]
    assert opacity_HW.shape == (250, 250)
    assert (np.diag(opacity_HW) == 255).all()
    assert opacity_HW[0, 249] > 60
    assert (opacity_HW > 0).sum() == 251
    assert "class 3" not in svg

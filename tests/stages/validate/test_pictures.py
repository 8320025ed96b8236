"""The worst images: which, in what order, and with what answers; on real networks and a real run.

Shape legend: N images, K classes.
"""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from models.classifier import Classifier
from models.programs.program import Program, content_of
from pipeline.gates import measurement_files
from pipeline.gates import pictures as stored
from pipeline.gates.measurements import Samples
from stages.data.images import Images
from stages.validate import pictures, thumbnails
from stages.validate import stage as validate_stage
from tests.models.programs import networks
from tests.models.programs.networks import Net
from tests.stages.tiny import TinyRun, context, resnet8, settings

CLASSES = ("a", "b", "c")


def logits(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    """Return the logits whose softmax is these probabilities."""
    return np.log(np.array(rows, np.float32))


TEACHER = logits(
    (0.9, 0.05, 0.05), (0.6, 0.3, 0.1), (0.2, 0.7, 0.1), (0.1, 0.1, 0.8), (0.4, 0.3, 0.3)
)
STUDENT = logits(
    (0.4, 0.5, 0.1), (0.15, 0.75, 0.1), (0.1, 0.3, 0.6), (0.1, 0.1, 0.8), (0.3, 0.4, 0.3)
)
ENGINE = logits(
    (0.4, 0.5, 0.1), (0.15, 0.75, 0.1), (0.1, 0.3, 0.6), (0.1, 0.7, 0.2), (0.3, 0.4, 0.3)
)
LABELS = np.array([0, 0, 0, 2, 0])


def test_lost_images_come_first_and_by_how_much_probability_fell() -> None:
    networks_ = {"teacher": TEACHER, "student": STUDENT}
    # 0: falls by 0.5, 1: by 0.45, 4: by 0.1; 2 the teacher gets wrong as well; 3 is right.
    assert pictures.worst_first(networks_, LABELS).tolist() == [0, 1, 4, 2]
    # The engine gets 3 wrong, from 0.8 to 0.2.
    assert pictures.worst_first({**networks_, "engine": ENGINE}, LABELS).tolist() == [3, 0, 1, 4, 2]


def test_without_labels_the_teacher_is_what_is_right() -> None:
    # 2: the teacher's 0.7 falls to 0.3.
    order = pictures.worst_first({"teacher": TEACHER, "student": STUDENT}, None).tolist()
    assert order == [0, 1, 2, 4]


def test_equal_images_stay_in_their_order() -> None:
    same = {"teacher": TEACHER[[0] * 20], "student": STUDENT[[0] * 20]}
    assert pictures.worst_first(same, np.zeros(20, np.int64)).tolist() == list(range(20))


def digits(count: int = 6, channels: int = 1, side_px: int = 8) -> Images:
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, side_px, side_px)
    x_NCHW = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return Images(x_NCHW, torch.arange(count) % 4, ("a", "b", "c", "d"))


def classifier(seed: int) -> Classifier:
    return Classifier(resnet8(seed=seed, classes=4), (0.5,), (0.5,)).eval()


def both(images: Images) -> tuple[dict[str, Classifier], dict[str, NDArray[np.float32]]]:
    pair = {"teacher": classifier(1), "student": classifier(2)}
    return pair, {name: validate_stage.torch_logits(net, images) for name, net in pair.items()}


def test_what_is_drawn_are_the_images_with_the_answers_of_each_network() -> None:
    images = digits()
    pair, all_logits = both(images)
    drawn = pictures.draw(all_logits, images, pair, kind="held-out", count=3)
    assert (drawn.kind, drawn.n, drawn.maps_absent) == ("held-out", 6, {})
    order = pictures.worst_first(all_logits, images.y_N.numpy())
    assert drawn.wrong == len(order)
    assert [picture.worst.index for picture in drawn.pictures] == order[:3].tolist()
    for picture in drawn.pictures:
        index = picture.worst.index
        assert picture.worst.label == images.classes[int(images.y_N[index])]
        pixels_HW = np.asarray(Image.open(io.BytesIO(picture.image)))
        np.testing.assert_array_equal(pixels_HW, images.x_NCHW[index : index + 1][0, 0])
        assert list(picture.worst.answers) == ["teacher", "student"]
        for name, answer in picture.worst.answers.items():
            p_K = pictures.probabilities(all_logits[name][[index]])[0]
            assert answer.class_name == images.classes[p_K.argmax()]
            assert answer.confidence == pytest.approx(p_K.max())
            assert answer.is_right == (answer.class_name == picture.worst.label)
        sizes = {name: (seen.height, seen.width) for name, seen in picture.maps.items()}
        assert sizes == {"teacher": (2, 2), "student": (2, 2)}


def test_the_first_eight_have_maps_and_all_images_together_are_bounded() -> None:
    images = digits(200, channels=3, side_px=224)
    teacher = np.eye(4, dtype=np.float32)[images.y_N.numpy()]
    drawn = pictures.draw(
        {"teacher": teacher, "student": -teacher}, images, {}, kind="held-out", count=100
    )
    assert len(drawn.pictures) == 100
    assert sum(len(picture.image) for picture in drawn.pictures) <= pictures.MOST_BYTES

    small = digits(40)
    pair, all_logits = both(small)
    drawn = pictures.draw(all_logits, small, pair, kind="held-out", count=20)
    assert [bool(picture.maps) for picture in drawn.pictures] == [True] * 8 + [False] * 12


def test_images_that_the_page_has_again_with_their_maps_count_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = digits(24, side_px=64)
    network = Classifier(Net(), (0.5,), (0.5,)).eval()
    whole = thumbnails.encode(images.x_NCHW[:1].numpy()[0], 1_000_000)
    monkeypatch.setattr(pictures, "MOST_BYTES", 44 * len(whole))  # of 48, so that none fits whole
    right = np.eye(4, dtype=np.float32)[images.y_N.numpy()]
    pair = {"teacher": network, "student": network}
    drawn = pictures.draw(
        {"teacher": right, "student": -right}, images, pair, kind="held-out", count=24
    )
    # Among the misclassified; and in the row of its maps, alone and under each of them.
    times = [1 + (1 + len(picture.maps) if picture.maps else 0) for picture in drawn.pictures]
    assert times == [4] * 8 + [1] * 16
    bytes_on_page = sum(
        n * len(picture.image) for n, picture in zip(times, drawn.pictures, strict=True)
    )
    assert bytes_on_page <= pictures.MOST_BYTES


def test_images_of_the_bank_have_no_labels() -> None:
    images = digits()
    pair, all_logits = both(images)
    drawn = pictures.draw(all_logits, images, pair, kind="bank", count=6)
    assert drawn.kind == "bank"
    assert drawn.pictures
    for picture in drawn.pictures:
        assert picture.worst.label is None
        answers = picture.worst.answers
        assert answers["teacher"].is_right
        assert not answers["student"].is_right
        assert answers["student"].class_name != answers["teacher"].class_name


def test_where_all_is_right_nothing_is_drawn() -> None:
    images = digits()
    right = np.eye(4, dtype=np.float32)[images.y_N.numpy()]
    drawn = pictures.draw(
        {"teacher": right, "student": right},
        images,
        {"teacher": classifier(1)},
        kind="held-out",
        count=6,
    )
    assert (drawn.wrong, drawn.pictures, drawn.maps_absent) == (0, (), {})


def test_a_teacher_that_is_a_program_has_maps_and_one_without_maps_a_reason() -> None:
    images = digits()
    x_BCHW = torch.rand(2, 1, 8, 8)
    program = Program("onnx", content_of(networks.onnx(networks.trained(Net()), x_BCHW)))
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    pair = {
        "teacher": Classifier(program, (0.5,), (0.5,)).eval(),
        "student": Classifier(flat, (0.5,), (0.5,)).eval(),
    }
    all_logits = {name: validate_stage.torch_logits(net, images) for name, net in pair.items()}
    drawn = pictures.draw(all_logits, images, pair, kind="held-out", count=6)
    assert drawn.maps_absent == {"student": "has no feature map of more than one row and column"}
    assert {tuple(picture.maps) for picture in drawn.pictures} == {("teacher",)}


def test_a_run_leaves_the_worst_of_its_held_out_images(tiny: TinyRun) -> None:
    left = stored.read(tiny.path("validate/pictures"))
    samples = measurement_files.read(tiny.path("validate/samples"), Samples)
    assert samples.labels is not None
    wrong = [
        n
        for n, label in enumerate(samples.labels)
        if {samples.predictions["student"][n], samples.predictions["engine"][n]} != {label}
    ]
    assert (left.kind, left.n, left.wrong) == ("held-out", 540, len(wrong))
    assert len(left.pictures) == min(24, len(wrong))
    for picture in left.pictures:
        index = picture.worst.index
        assert index in wrong
        assert picture.worst.label == str(samples.labels[index])
        assert list(picture.worst.answers) == ["teacher", "student", "engine"]
        for name, answer in picture.worst.answers.items():
            assert answer.class_name == str(samples.predictions[name][index])
    assert [len(picture.maps) for picture in left.pictures[:9]] == [2] * 8 + [0]


def test_no_pictures_leave_no_file_and_reach_none(tiny: TinyRun, tmp_path: Path) -> None:
    from stages import catalog

    chosen = settings({"validate": {"pictures": 0, "batch_sizes": (1,)}})
    stage = catalog.declare(chosen, tmp_path)[4]
    ctx, _ = context(stage, chosen, {name: tiny.path(name) for name in stage.inputs}, tmp_path)
    validate_stage.run(ctx)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "measurements.json",
        "samples.json",
    }
